/* A filter compiles or is refused by name. It says the same of a document each time, and of a copy that went through
 * Extended JSON. One that names a single _id takes no document with another. */
#include "branch-service/query/filter.h"
#include "common/bson/key_encoding.h"
#include "tests/fuzz/fuzz_documents.h"

static void check(const struct filter *filter, struct bytes document)
{
    struct error err;
    struct bytes only;
    struct buffer text = { 0 }, id = { 0 };
    bson_t copy;
    bool matches = filter_matches(filter, document);
    must(ejson_format(document, EJSON_CANONICAL, &text, &err) && ejson_parse(buffer_bytes(&text), &copy, &err));
    must(filter_matches(filter, document) == matches);
    must(filter_matches(filter, bytes_of(bson_get_data(&copy), copy.len)) == matches);
    if (matches && filter_single_id(filter, &only) && key_encode_document_id(document, &id, &err))
        must(bytes_equal(buffer_bytes(&id), only));
    bson_destroy(&copy);
    buffer_destroy(&text);
    buffer_destroy(&id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes input = bytes_of(data, len), spec = fuzz_next_document(&input), document = fuzz_next_document(&input);
    struct filter *filter = NULL;
    struct error err = { 0 };
    bool compiled = spec.len && filter_compile(spec, &filter, &err);
    must(compiled || !spec.len || (err.code == ERROR_INVALID_ARGUMENT && err.message[0]));
    free((void *)spec.data);
    if (compiled && document.len)
        check(filter, document);
    filter_free(filter);
    free((void *)document.data);
    return 0;
}
