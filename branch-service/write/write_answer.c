#include "branch-service/write/write_answer.h"

#include <bson/bson.h>
#include <stdio.h>

#include "branch-service/reasons.h"

static const struct {
    const char *field;
    size_t offset;
} counters[] = {
    { "matched", offsetof(struct write_answer, counts.matched) },   { "modified", offsetof(struct write_answer, counts.modified) },
    { "inserted", offsetof(struct write_answer, counts.inserted) }, { "skipped", offsetof(struct write_answer, counts.skipped) },
    { "deleted", offsetof(struct write_answer, counts.deleted) },   { "replaced", offsetof(struct write_answer, counts.replaced) },
    { "upserted", offsetof(struct write_answer, counts.upserted) }, { "lsn", offsetof(struct write_answer, lsn) },
    { "operation", offsetof(struct write_answer, operation) },      { "recorded", offsetof(struct write_answer, recorded) },
    { "record", offsetof(struct write_answer, record_lsn) },
};

/* Reasons are static strings, so those that are read back are found here. */
static const char *const reasons[] = { REASON_DUPLICATE_KEY, REASON_PARTIALLY_APPLIED, REASON_WAL_BRANCHES_OFF,
                                       REASON_NEEDS_MONGODB, REASON_NEEDS_WAL_BRANCH,  REASON_TOO_LARGE };

static const char *find_reason(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strcmp(name, reasons[i]) == 0)
            return reasons[i];
    return NULL; /* of a newer version: the code says enough */
}

static void append_text(bson_t *bson, const char *field, const char *text)
{
    if (text && text[0])
        bson_append_utf8(bson, field, -1, text, -1);
}

static const char *find_text(const bson_t *bson, const char *field)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, bson, field) && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
}

static uint64_t *counter(struct write_answer *answer, size_t i)
{
    return (uint64_t *)((char *)answer + counters[i].offset);
}

bool write_answer_encode(const struct write_answer *answer, struct arena *arena, struct bytes *encoded, struct error *err)
{
    struct write_answer copy = *answer;
    bson_t bson = BSON_INITIALIZER;
    if (answer->failure.code != ERROR_OK) {
        BSON_APPEND_INT32(&bson, "code", (int)answer->failure.code);
        append_text(&bson, "message", answer->failure.message);
        append_text(&bson, "reason", answer->failure.reason);
        if (answer->failure.mongo_code)
            BSON_APPEND_INT32(&bson, "mongo", answer->failure.mongo_code);
        append_text(&bson, "keys", answer->failure.keys);
    }
    append_text(&bson, "branch", answer->branch_id);
    append_text(&bson, "collection", answer->collection_id);
    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        if (*counter(&copy, i))
            bson_append_int64(&bson, counters[i].field, -1, (int64_t)*counter(&copy, i));
    size_t len = bson.len;
    void *data = arena_copy(arena, bson_get_data(&bson), len);
    bson_destroy(&bson);
    if (!data)
        return error_out_of_memory(err);
    *encoded = bytes_of(data, len);
    return true;
}

bool write_answer_decode(struct bytes encoded, struct write_answer *answer, struct error *err)
{
    bson_t bson;
    bson_iter_t iter;
    struct write_answer found = { 0 };
    if (!bson_init_static(&bson, encoded.data, encoded.len))
        return error_set(err, ERROR_DATA_LOSS, "the log keeps an answer that cannot be read");
    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        if (bson_iter_init_find(&iter, &bson, counters[i].field) && BSON_ITER_HOLDS_INT64(&iter))
            *counter(&found, i) = (uint64_t)bson_iter_int64(&iter);
    if (bson_iter_init_find(&iter, &bson, "code") && BSON_ITER_HOLDS_INT32(&iter)) {
        error_set(&found.failure, (enum error_code)bson_iter_int32(&iter), "%s", find_text(&bson, "message"));
        error_set_reason(&found.failure, find_reason(find_text(&bson, "reason")));
        snprintf(found.failure.keys, sizeof found.failure.keys, "%s", find_text(&bson, "keys"));
        if (bson_iter_init_find(&iter, &bson, "mongo") && BSON_ITER_HOLDS_INT32(&iter))
            found.failure.mongo_code = bson_iter_int32(&iter);
        found.failure.outcome = OUTCOME_NOT_APPLIED;
    }
    snprintf(found.branch_id, sizeof found.branch_id, "%s", find_text(&bson, "branch"));
    snprintf(found.collection_id, sizeof found.collection_id, "%s", find_text(&bson, "collection"));
    *answer = found;
    return true;
}
