/* Where an import ends: documents go to a branch by InsertMany, several at a time, each under a request_id of its own, so that
 * one whose answer is lost is repeated and has one effect. A traditional branch takes no ids: there the repetition passes over what is
 * in, or replaces it where that is asked for.
 *
 * Threads    branch_sink_write: any; the rest: one.
 */
#ifndef ARGON_CLI_BRANCH_SINK_H
#define ARGON_CLI_BRANCH_SINK_H

#include "cli/command.h"
#include "cli/insert_batch.h"
#include "cli/transfer.h"
#include "common/base/sync.h"

enum { BRANCH_SINK_WRITERS = 3, BRANCH_SINK_DOCUMENTS = MAX_BATCH_ENTRIES - 1 };

struct branch_sink {
    struct cli *cli;
    Argon__Branch__V1__Target target; /* without a collection */
    const char *const *collections;   /* names, by the number that batches have */
    struct insert_rules rules;
    char base_id[MAX_REQUEST_ID_BYTES + 1];
    struct mutex lock; /* rank 20 */
    /* under lock */
    bool without_id; /* the branch takes no request_id */
    uint64_t lsn;    /* the highest that was answered */
    uint64_t inserted, replaced, skipped;
};

CHECKED bool branch_sink_begin(struct branch_sink *sink, struct cli *cli, const char *const *collections, const struct insert_rules *rules,
                               struct error *err);
/* As transfer_options.write wants it; ctx is the sink. What is in a batch that may have been written before takes the place of what
 * is under its _id. */
CHECKED bool branch_sink_write(void *ctx, size_t writer, const struct transfer_batch *batch, struct error *err);
void branch_sink_end(struct branch_sink *sink);

#endif
