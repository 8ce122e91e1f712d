/* A filter compiles or is refused by name. It says the same of a document each time, and of a copy that went through
 * Extended JSON, in which a field that is named like one of its own, {"$oid": 1}, is something else or nothing. It takes no document whose
 * _id is out of the bounds that it names. */
#include "branch-service/query/filter.h"
#include "common/bson/key_encoding.h"
#include "tests/fuzz/fuzz_documents.h"

/* A pattern that was given up matches nothing here. */
static bool says(const struct filter *filter, struct bytes document)
{
    struct error err;
    bool matches = false;
    return filter_matches(filter, document, &matches, &err) && matches;
}

static void check_id(const struct filter *filter, struct bytes id)
{
    const struct id_range *ranges;
    struct bytes only;
    size_t n;
    if (filter_single_id(filter, &only))
        must(bytes_equal(id, only));
    bool within = !filter_id_bounds(filter, &ranges, &n);
    for (size_t i = 0; !within && i < n; i++)
        within = bytes_compare(ranges[i].from, id) <= 0 && (!ranges[i].to.len || bytes_compare(id, ranges[i].to) < 0);
    must(within);
}

static void check(const struct filter *filter, struct bytes document)
{
    struct error err;
    struct buffer text = { 0 }, id = { 0 };
    bson_t copy;
    int64_t index = 0;
    bool matches = says(filter, document), dollars = memchr(document.data, '$', document.len);
    must(ejson_format(document, EJSON_CANONICAL, &text, &err));
    bool parsed = ejson_parse(buffer_bytes(&text), &copy, &err);
    must(parsed || dollars);
    must(says(filter, document) == matches && (dollars || says(filter, bytes_of(bson_get_data(&copy), copy.len)) == matches));
    if (matches && key_encode_document_id(document, &id, &err))
        check_id(filter, buffer_bytes(&id));
    must(!filter_match_position(filter, document, &index) || index >= 0);
    if (parsed)
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
