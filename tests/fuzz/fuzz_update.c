/* An update compiles or is refused by name. What it makes of a stored document can be stored, under the same _id; it makes
 * the same each time; and $set, $unset and replacements change nothing when they come again. */
#include "branch-service/query/update.h"
#include "common/bson/element.h"
#include "tests/fuzz/fuzz_documents.h"

static bool is_idempotent(struct bytes spec)
{
    struct element_reader fields;
    struct element field;
    element_reader_init(&fields, spec);
    while (element_next(&fields, &field))
        if (field.name[0] == '$' && strcmp(field.name, "$set") != 0 && strcmp(field.name, "$unset") != 0)
            return false;
    return true;
}

static void check(const struct update *update, bool idempotent, struct bytes old)
{
    struct error err;
    bson_t new, again;
    struct element before, after;
    bool changed;
    if (!update_apply(update, old, &new, &changed, &err))
        must(err.code == ERROR_INVALID_ARGUMENT && err.message[0]);
    else if (changed) {
        struct bytes image = bytes_of(bson_get_data(&new), new.len);
        must(bson_check(image, &err) && element_find(old, "_id", 3, &before) && element_find(image, "_id", 3, &after));
        must(bytes_equal(element_bytes(&before), element_bytes(&after)) || update_kind(update) == UPDATE_REPLACEMENT);
        must(update_apply(update, old, &again, &changed, &err) && changed && bson_equal(&new, &again));
        bson_destroy(&again);
        must(!idempotent || (update_apply(update, image, &again, &changed, &err) && !changed));
        bson_destroy(&new);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes input = bytes_of(data, len), spec = fuzz_next_document(&input), document = fuzz_next_document(&input);
    struct update *update;
    struct error err = { 0 };
    bson_t stored;
    bool idempotent = spec.len && is_idempotent(spec);
    bool compiled = spec.len && update_compile(spec, NULL, &update, &err);
    must(compiled || !spec.len || (err.code == ERROR_INVALID_ARGUMENT && err.message[0]));
    free((void *)spec.data);
    if (compiled && document.len && document_prepare(document, &stored, &err)) {
        check(update, idempotent, bytes_of(bson_get_data(&stored), stored.len));
        bson_destroy(&stored);
    }
    if (compiled)
        update_free(update);
    free((void *)document.data);
    return 0;
}
