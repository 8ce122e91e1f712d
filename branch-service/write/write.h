/* One write of a user, carried through: evaluated against a state, appended, evaluated again when it lost against
 * another writer, and answered exactly once however often it is sent.
 *
 *     look --known--> answer rebuilt from the log, or go on behind its last step
 *      |
 *     evaluate --no effect, nobody may repeat it--> answer
 *      |
 *     append --committed, the last step--> answer      --refused (ABORTED)--> look again
 *            --committed, more to do--> refresh, evaluate the next step
 *            --outcome unknown--> look again: the request_id tells
 *
 * Every write has a request_id; one that comes without gets one here. When the request may be repeated (it
 * came with an id, or an append's outcome is not known) then an outcome without effect is committed too,
 * in the hidden collection `_requests`, before it is answered: a delayed copy then cannot take effect.
 *
 * Steps. A plan with `more` is one step of several. Each is a batch that names its place: the log takes only the
 * successor of the last committed one, so copies of a request on several replicas push each other forward and
 * have one effect together. Counts, and what the names meant, travel with each step; a copy that comes later goes
 * on from there. A definite error ends the steps: it is committed as the last one, and what was done stays.
 *
 * Records. What an answer needs beyond counts and images (which items of a bulk write failed, say) is a document that a step
 * commits in `_requests` together with what it does; each names the LSN of the one before.
 *
 * Errors     err->outcome is NOT_APPLIED for whatever is definite and had no effect. A request that came with an id
 *            may have been sent before: of it nothing is definite until the log has been asked. ABORTED: it lost
 *            until the deadline (reason WRITE_CONFLICT, with keys). OUT_OF_RANGE: since_lsn lies below the
 *            horizon, or beyond the head: it was learned from a project that is gone or from a log that has been
 *            replaced. Reasons: docs/errors.md.
 */
#ifndef ARGON_BRANCH_WRITE_WRITE_H
#define ARGON_BRANCH_WRITE_WRITE_H

#include "branch-service/log/log_source.h"
#include "branch-service/project/project.h"
#include "common/base/arena.h"
#include "common/base/caller.h"
#include "common/base/error.h"

/* What a step holds at most, besides one document of any size. */
enum { MAX_STEP_DOCUMENTS = 1000, MAX_STEP_BYTES = 16 * 1024 * 1024 };

struct write_request {
    const char *request_id; /* empty: none */
    uint64_t since_lsn;
    const char *actor;
    struct bytes hash; /* of the request as sent */
    int64_t deadline;
    struct caller caller; /* when he has gone, nothing more is appended */
};

struct write_counts {
    uint64_t matched;
    uint64_t modified;
    uint64_t inserted;
    uint64_t skipped;
    uint64_t deleted;
    uint64_t replaced;
    uint64_t upserted;
};

/* How far a write that goes in steps has come. */
struct write_progress {
    uint32_t step;             /* the one to evaluate, from 0 */
    struct bytes after;        /* documents up to this key are done; empty at step 0 */
    const char *branch_id;     /* what the names meant at step 0; empty then */
    const char *collection_id; /* likewise */
    uint32_t operation;        /* of a write that is a list of operations: those before it are done */
    size_t max_documents;      /* of this step: fewer after it has lost */
};

/* What evaluation comes to. No runs: no effect, or no more. */
struct write_plan {
    const struct write_progress *from; /* given to evaluation */
    struct write_counts counts;        /* of the steps before when evaluation begins; it adds its own */
    uint64_t read_lsn;
    struct log_incarnation incarnation;
    struct log_run *runs;
    size_t n_runs;
    const struct log_key *read_keys;
    size_t n_read_keys;
    const struct log_key *write_keys;
    size_t n_write_keys;
    /* The effect depends on something that the conflict check does not look at: do not append it from an old state. */
    bool unguarded;
    /* Another step follows, behind last_document_id in that operation. */
    bool more;
    uint32_t operation;
    struct bytes last_document_id;
    /* A document: what the answer says of this step that follows neither from its counts nor from what it wrote. It is kept in the
     * log with the step, see write_records. Empty: nothing. */
    struct bytes record;
    const char *branch_id;
    const char *collection_id;
    /* For people who are told of conflicts: the collection's name. NULL: not known. */
    const char *collection;
};

/* Called when the project is fresh, perhaps several times. False: the definite answer is an error, or
 * evaluation itself failed. Everything in the plan lives in the arena. */
typedef bool write_evaluate_fn(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err);

struct write_result {
    struct arena arena; /* owns the rest */
    uint64_t lsn;       /* last LSN of the (last) batch; without effect: the LSN of the state that was seen */
    uint64_t first_lsn;
    uint64_t timestamp;
    struct write_counts counts;
    struct log_run *runs; /* of the last batch, as committed, also when the answer is rebuilt */
    size_t n_runs;
    bool rebuilt;        /* another one's evaluation is answered, not the last one of this call */
    uint64_t record_lsn; /* of the newest record in the log; 0: there is none */
    struct bytes record; /* that of this call, when it is not in the log */
};

/* The caller has refreshed the project since the request arrived; later tries refresh by themselves. */
CHECKED bool write_execute(struct project *project, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx,
                           struct write_result *result, struct error *err);
/* The same, only into the log that had been begun so often: the one in which the project's name was looked up. */
CHECKED bool write_execute_begun(struct project *project, uint64_t begun, const struct write_request *request, write_evaluate_fn *evaluate,
                                 void *ctx, struct write_result *result, struct error *err);
void write_result_destroy(struct write_result *result);

/* The records of all steps, the last one first. The document is borrowed from the result's arena. */
typedef bool write_record_fn(void *ctx, struct bytes record, struct error *err);
CHECKED bool write_records(struct project *project, struct write_result *result, int64_t deadline, write_record_fn *visit, void *ctx,
                           struct error *err);

/* The run of a collection in a result, or NULL. */
const struct log_run *write_result_run(const struct write_result *result, const char *branch_id, const char *collection);

/* Says of a call that ended before write_execute what it did: nothing. With a request_id an earlier copy may
 * have got further, so that is definite only of an error that follows from the request alone. False. */
bool write_refuse(const struct write_request *request, struct error *err);

/* Says of a call that failed after its write was committed that it was not without effect. False. */
bool write_keep_unknown(struct error *err);

/* INVALID_ARGUMENT: request_id or actor too long. */
CHECKED bool write_request_check(const struct write_request *request, struct error *err);

#endif
