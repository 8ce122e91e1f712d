#include "cli/branch_sink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

bool branch_sink_begin(struct branch_sink *sink, struct cli *cli, const char *const *collections, const struct insert_rules *rules,
                       struct error *err)
{
    Argon__Branch__V1__WriteOptions write;
    *sink = (struct branch_sink) { .cli = cli, .collections = collections, .rules = *rules };
    if (!cli_target(cli, "", &sink->target, err) ||
        !connection_begin_write(&cli->connection, sink->target.project, &cli->arena, &write, err))
        return false;
    snprintf(sink->base_id, sizeof sink->base_id, "%s", cli->connection.base_id);
    sink->lsn = write.since_lsn;
    sink->without_id = cli->connection.without_id;
    mutex_init(&sink->lock, 20);
    return true;
}

/* With the write's id; without it where the branch takes none. */
static bool send(struct branch_sink *sink, const struct insert_batch *batch, Argon__Branch__V1__Target *target,
                 const struct insert_rules *rules, Argon__Branch__V1__WriteOptions *write, struct arena *arena,
                 const Argon__Branch__V1__InsertManyResponse **response, struct error *err)
{
    struct connection *connection = &sink->cli->connection;
    mutex_lock(&sink->lock);
    bool without_id = sink->without_id;
    write->since_lsn = sink->lsn;
    mutex_unlock(&sink->lock);
    if (!without_id) {
        if (insert_batch_call(batch, connection, connection_read, target, rules, write, arena, response, err))
            return true;
        if (!connection_refuses_id(err))
            return false;
        mutex_lock(&sink->lock);
        sink->without_id = true;
        mutex_unlock(&sink->lock);
    }
    write->request_id = "";
    write->since_lsn = 0;
    return insert_batch_call(batch, connection, connection_call_once, target, rules, write, arena, response, err) ||
           insert_batch_send_again(batch, connection, target, rules, write, arena, response, err);
}

bool branch_sink_write(void *ctx, size_t writer, const struct transfer_batch *batch, struct error *err)
{
    struct branch_sink *sink = ctx;
    (void)writer;
    struct arena arena;
    char id[MAX_REQUEST_ID_BYTES + 24];
    snprintf(id, sizeof id, "%s-%" PRIu64, sink->base_id, batch->number);

    Argon__Branch__V1__Target target = sink->target;
    target.collection = (char *)sink->collections[batch->collection];
    Argon__Branch__V1__WriteOptions write = ARGON__BRANCH__V1__WRITE_OPTIONS__INIT;
    write.request_id = id;
    write.actor = (char *)sink->cli->options->actor;
    struct insert_rules rules = sink->rules;
    if (batch->again)
        rules.on_duplicate = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPLACE;

    arena_init(&arena, 0);
    const struct insert_batch documents = { .documents = batch->documents, .n = batch->n };
    const Argon__Branch__V1__InsertManyResponse *response;
    bool ok = send(sink, &documents, &target, &rules, &write, &arena, &response, err);
    if (ok) {
        mutex_lock(&sink->lock);
        sink->lsn = response->lsn > sink->lsn ? response->lsn : sink->lsn;
        sink->inserted += response->inserted;
        sink->replaced += response->replaced;
        sink->skipped += response->skipped;
        mutex_unlock(&sink->lock);
    } else {
        ok = error_wrap(err, "collection '%s'", target.collection);
    }
    arena_destroy(&arena);
    return ok;
}

void branch_sink_end(struct branch_sink *sink)
{
    if (sink->cli)
        mutex_destroy(&sink->lock);
}
