/* How many documents a second one core filters, in the query library alone.
 *
 *   bench_query [DOCUMENTS]
 *
 * Documents of some 200 bytes lie one behind the other, as in a materialized view. Time is the thread's own, so that a
 * busy machine counts less.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/query_documents.h"
#include "branch-service/query/filter.h"

static const struct {
    const char *name, *spec;
} filters[] = {
    { "one comparison", "{\"age\":{\"$gt\":50}}" },
    { "five operators",
      "{\"age\":{\"$gte\":18,\"$lt\":65},\"city\":{\"$in\":[\"city-1\",\"city-3\",\"city-5\"]},\"address.zip\":{\"$ne\":\"1\"},"
      "\"active\":true}" },
    { "equality of strings", "{\"name\":\"user-77\"}" },
    { "last field", "{\"active\":true}" },
    { "range of doubles", "{\"score\":{\"$gte\":100,\"$lt\":200.5}}" },
    { "$or of three", "{\"$or\":[{\"age\":5},{\"city\":\"city-7\"},{\"active\":false}]}" },
    { "element of an array", "{\"tags\":\"b\"}" },
    { "$elemMatch", "{\"orders\":{\"$elemMatch\":{\"n\":{\"$gt\":5},\"paid\":true}}}" },
    { "$regex", "{\"name\":{\"$regex\":\"^user-9.*7$\"}}" },
    { "$expr", "{\"$expr\":{\"$gt\":[\"$age\",\"$score\"]}}" },
    { "$jsonSchema", "{\"$jsonSchema\":{\"required\":[\"name\"],\"properties\":{\"age\":{\"bsonType\":\"int\",\"minimum\":18}}}}" },
};

static void write_document(unsigned i, char text[DOCUMENT_TEXT])
{
    snprintf(text, DOCUMENT_TEXT,
             "{\"_id\":%u,\"name\":\"user-%u\",\"age\":%u,\"score\":%u.25,\"city\":\"city-%u\",\"tags\":[\"a\",\"%c\"],"
             "\"address\":{\"street\":\"street %u\",\"zip\":\"%u\"},\"orders\":[{\"n\":%u,\"paid\":%s}],\"active\":%s}",
             i, i * 7 % 1000, i * 13 % 90, i * 17 % 1000, i % 10, 'b' + (int)(i % 3), i, i % 100, i % 11, i % 2 ? "true" : "false",
             i % 4 ? "true" : "false");
}

static void measure(const char *name, const char *spec, struct bytes all, unsigned n)
{
    struct filter *filter;
    struct error err;
    bson_t document;
    unsigned found = 0;
    parse_document(spec, &document);
    if (!filter_compile(bytes_of_document(&document), &filter, &err))
        query_bench_fail(&err);
    double began = thread_seconds();
    for (const uint8_t *at = all.data; at < all.data + all.len; at += get_u32(at)) {
        bool matches;
        if (!filter_matches(filter, bytes_of(at, get_u32(at)), &matches, &err))
            query_bench_fail(&err);
        found += matches;
    }
    double seconds = thread_seconds() - began;
    printf("{\"bench\":\"filter\",\"filter\":\"%s\",\"documents\":%u,\"matching\":%u,\"documents_per_second\":%.0f}\n", name, n, found,
           (double)n / seconds);
    filter_free(filter);
    bson_destroy(&document);
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 1000000;
    struct buffer all = { 0 };
    make_documents(n, write_document, &all);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        measure(filters[i].name, filters[i].spec, buffer_bytes(&all), n);
    buffer_destroy(&all);
    return 0;
}
