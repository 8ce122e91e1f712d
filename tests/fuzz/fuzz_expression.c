/* An expression compiles or is refused by name. It says the same of a document each time, within its memory, and what
 * it makes is BSON. */
#include "branch-service/query/expression.h"
#include "common/base/limits.h"
#include "common/bson/value_compare.h"
#include "tests/fuzz/fuzz_documents.h"

static bool evaluate(const struct expression *expression, struct bytes document, struct arena *arena, struct element *value)
{
    struct error err = { 0 };
    struct evaluation evaluation = { .arena = arena, .document = document };
    bool ok = expression_evaluate(expression, &evaluation, value, &err);
    must(ok || ((err.code == ERROR_INVALID_ARGUMENT || err.code == ERROR_RESOURCE_EXHAUSTED) && err.message[0]));
    return ok;
}

static void check(const struct element *value)
{
    size_t size;
    must(value_is_missing(value) ||
         (element_value_size(value->type, value->value.data, value->value.len, &size) && size == value->value.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes input = bytes_of(data, len), spec = fuzz_next_document(&input), document = fuzz_next_document(&input);
    struct element whole = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = spec }, first, again;
    const struct expression *expression;
    struct error err = { 0 };
    struct arena arena;
    arena_init(&arena, 16 * MIB);
    bool compiled = spec.len && expression_compile(&whole, NULL, &arena, &expression, &err);
    must(compiled || !spec.len || err.message[0]);
    if (compiled && document.len && evaluate(expression, document, &arena, &first) && evaluate(expression, document, &arena, &again)) {
        check(&first);
        bool by_chance = memmem(spec.data, spec.len, "$rand", 5) != NULL;
        must(by_chance || (value_is_missing(&first) ? value_is_missing(&again) : value_compare_elements(&first, &again) == 0));
    }
    arena_destroy(&arena);
    free((void *)spec.data);
    free((void *)document.data);
    return 0;
}
