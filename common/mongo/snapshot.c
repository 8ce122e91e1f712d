#include "common/mongo/snapshot.h"

#include <stdio.h>
#include <string.h>

#include "common/base/random.h"

struct check {
    mongo_snapshot_run_fn *run;
    void *ctx;
    const char *database;
    char scratch[sizeof MONGO_SNAPSHOT_CHECK_PREFIX + ID_SIZE];
};

void mongo_snapshot_append_concern(bson_t *command, uint64_t time)
{
    bson_t concern;
    if (!time)
        return;
    bson_append_document_begin(command, "readConcern", -1, &concern);
    BSON_APPEND_UTF8(&concern, "level", "snapshot");
    BSON_APPEND_TIMESTAMP(&concern, "atClusterTime", (uint32_t)(time >> 32), (uint32_t)time);
    bson_append_document_end(command, &concern);
}

bool mongo_snapshot_is_gone(uint32_t code)
{
    return code == 239 /* SnapshotTooOld */ || code == 246 /* SnapshotUnavailable */;
}

static bool write_scratch(const struct check *check, int id, struct error *err)
{
    bson_t *command = BCON_NEW("insert", BCON_UTF8(check->scratch), "documents", "[", "{", "_id", BCON_INT32(id), "}", "]", "writeConcern",
                               "{", "w", BCON_UTF8("majority"), "}");
    bson_t reply;
    bson_iter_t iter;
    bool ok = check->run(check->ctx, check->database, command, &reply, "a write to try snapshots", err);
    if (ok && (!bson_iter_init_find(&iter, &reply, "n") || bson_iter_as_int64(&iter) != 1))
        ok = error_set(err, ERROR_INTERNAL, "MongoDB: a write to try snapshots had no effect");
    bson_destroy(&reply);
    bson_destroy(command);
    return ok;
}

/* All documents of the scratch collection; *time: where the server says that it has read, 0: it does not say. at 0: it chooses. */
static bool read_scratch(const struct check *check, uint64_t at, uint64_t *time, unsigned *n, struct error *err)
{
    bson_t command = BSON_INITIALIZER, empty, reply;
    bson_iter_t iter, inner, documents;
    BSON_APPEND_UTF8(&command, "find", check->scratch);
    bson_append_document_begin(&command, "filter", -1, &empty);
    bson_append_document_end(&command, &empty);
    if (at) {
        mongo_snapshot_append_concern(&command, at);
    } else {
        bson_append_document_begin(&command, "readConcern", -1, &empty);
        BSON_APPEND_UTF8(&empty, "level", "snapshot");
        bson_append_document_end(&command, &empty);
    }
    *time = 0;
    *n = 0;
    bool ok = check->run(check->ctx, check->database, &command, &reply, "a read of a snapshot", err);
    if (ok && bson_iter_init(&iter, &reply) && bson_iter_find_descendant(&iter, "cursor.atClusterTime", &inner) &&
        BSON_ITER_HOLDS_TIMESTAMP(&inner)) {
        uint32_t seconds, number;
        bson_iter_timestamp(&inner, &seconds, &number);
        *time = (uint64_t)seconds << 32 | number;
    }
    if (ok && bson_iter_init(&iter, &reply) && bson_iter_find_descendant(&iter, "cursor.firstBatch", &inner) &&
        BSON_ITER_HOLDS_ARRAY(&inner) && bson_iter_recurse(&inner, &documents))
        while (bson_iter_next(&documents))
            ++*n;
    bson_destroy(&reply);
    bson_destroy(&command);
    return ok;
}

static bool drop_scratch(const struct check *check)
{
    struct error ignored;
    bson_t *command = BCON_NEW("drop", BCON_UTF8(check->scratch)), reply;
    bool ok = check->run(check->ctx, check->database, command, &reply, "dropping", &ignored);
    bson_destroy(&reply);
    bson_destroy(command);
    return ok;
}

/* A failure that does not say that the server is away says that it keeps no snapshots. */
static bool is_away(const struct error *err)
{
    return err->code == ERROR_UNAVAILABLE || err->code == ERROR_UNAUTHENTICATED || err->code == ERROR_DEADLINE_EXCEEDED;
}

static void explain(struct mongo_snapshot *snapshot, const char *what, const struct error *wrong)
{
    snprintf(snapshot->why_not, sizeof snapshot->why_not, "%s: %.120s", what, wrong->message);
}

bool mongo_snapshot_begin(mongo_snapshot_run_fn *run, void *ctx, const char *database, struct mongo_snapshot *snapshot, struct error *err)
{
    static const char none[] = "the server keeps no snapshots";
    struct check check = { .run = run, .ctx = ctx, .database = database };
    struct mongo_snapshot made = { 0 };
    struct error wrong = { 0 };
    uint64_t time, again;
    char id[ID_SIZE];
    unsigned n;
    random_id(id);
    snprintf(check.scratch, sizeof check.scratch, "%s%s", MONGO_SNAPSHOT_CHECK_PREFIX, id);
    bool written = write_scratch(&check, 1, &wrong);
    if (!written)
        explain(&made, "it could not be tried whether the server keeps snapshots", &wrong);
    else if (!read_scratch(&check, 0, &time, &n, &wrong))
        explain(&made, none, &wrong);
    else if (!time)
        snprintf(made.why_not, sizeof made.why_not, "%s", none);
    else if (!write_scratch(&check, 2, &wrong) || !read_scratch(&check, time, &again, &n, &wrong))
        explain(&made, none, &wrong);
    else if (n != 1 || again != time)
        snprintf(made.why_not, sizeof made.why_not, "the server accepts snapshots, and a write of another session is seen in them");
    else
        made.time = time;
    if (written && !drop_scratch(&check))
        snprintf(made.left_over, sizeof made.left_over, "%s", check.scratch);
    if (wrong.code != ERROR_OK && is_away(&wrong)) {
        *err = wrong;
        return false;
    }
    *snapshot = made;
    return true;
}
