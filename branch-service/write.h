/* One write of a user, carried through: evaluated against a fresh state, appended, evaluated again when it
 * lost against another writer, and answered exactly once however often it is sent.
 *
 *     look --known--> answer rebuilt from the log
 *      |
 *     evaluate --no effect, nobody may repeat it--> answer
 *      |
 *     append --committed--> answer            --refused (ABORTED)--> look again
 *            --outcome unknown--> look again: the request_id tells
 *
 * Every write has a request_id; one that comes without gets one here. When the request may be repeated (it
 * came with an id, or an append's outcome is not known) then an outcome without effect is committed too,
 * in the hidden collection `_requests`, before it is answered: a delayed copy then cannot take effect.
 *
 * Errors     err->outcome is NOT_APPLIED for whatever is definite. A request that came with an id may have been
 *            sent before: of it nothing is definite until the log has been asked. ABORTED: it lost until the
 *            deadline. OUT_OF_RANGE: since_lsn lies below the horizon, or beyond the head: it was learned from
 *            a project that is gone or from a log that has been replaced.
 */
#ifndef ARGON_BRANCH_WRITE_H
#define ARGON_BRANCH_WRITE_H

#include "branch-service/log/log_source.h"
#include "branch-service/project.h"
#include "common/base/arena.h"
#include "common/base/error.h"

struct write_request {
    const char *request_id; /* empty: none */
    uint64_t since_lsn;
    const char *actor;
    struct bytes hash; /* of the request as sent */
    int64_t deadline;
};

struct write_counts {
    uint64_t matched;
    uint64_t modified;
    uint64_t inserted;
    uint64_t skipped;
    uint64_t deleted;
};

/* What evaluation comes to. No runs: no effect. */
struct write_plan {
    uint64_t read_lsn;
    struct log_incarnation incarnation;
    struct log_run *runs;
    size_t n_runs;
    const struct log_key *read_keys;
    size_t n_read_keys;
    const struct log_key *write_keys;
    size_t n_write_keys;
    struct write_counts counts;
};

/* Called when the project is fresh, perhaps several times. False: the definite answer is an error, or
 * evaluation itself failed. Everything in the plan lives in the arena. */
typedef bool write_evaluate_fn(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err);

struct write_result {
    struct arena arena; /* owns the rest */
    uint64_t lsn;       /* last LSN of the batch; without effect: the LSN of the state that was seen */
    uint64_t first_lsn;
    uint64_t timestamp;
    struct write_counts counts;
    struct log_run *runs; /* as committed, also when the answer is rebuilt */
    size_t n_runs;
};

/* The caller has refreshed the project since the request arrived; later tries refresh by themselves. */
CHECKED bool write_execute(struct project *project, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx,
                           struct write_result *result, struct error *err);
void write_result_destroy(struct write_result *result);

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
