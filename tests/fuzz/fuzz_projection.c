/* A projection compiles or is refused by name. It makes the same of a document each time, without $rand, and that is BSON. */
#include "branch-service/query/projection.h"
#include "common/base/limits.h"
#include "tests/fuzz/fuzz_documents.h"

static bool apply(const struct projection *projection, struct bytes document, struct arena *arena, struct bytes *result)
{
    struct error err = { 0 };
    struct evaluation evaluation = { .arena = arena, .document = document };
    bool ok = projection_apply(projection, &evaluation, NULL, result, &err);
    must(ok || err.message[0]);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes input = bytes_of(data, len), spec = fuzz_next_document(&input), document = fuzz_next_document(&input), first, again;
    for (int kind = PROJECTION_FIND; kind <= PROJECTION_ADD_FIELDS; kind++) {
        struct projection *projection;
        struct error err = { 0 };
        struct arena arena;
        if (!spec.len || !projection_compile(spec, (enum projection_kind)kind, NULL, &projection, &err)) {
            must(!spec.len || err.message[0]);
            continue;
        }
        arena_init(&arena, 16 * MIB);
        if (document.len && apply(projection, document, &arena, &first)) {
            must(get_u32(first.data) == first.len && first.data[first.len - 1] == 0);
            bool same = apply(projection, document, &arena, &again) && bytes_equal(first, again);
            must(same || projection_is_random(projection));
        }
        arena_destroy(&arena);
        projection_free(projection);
    }
    free((void *)spec.data);
    free((void *)document.data);
    return 0;
}
