/* How many documents a second one core filters, in the query library alone.
 *
 *   bench_query [DOCUMENTS]
 *
 * Documents of some 200 bytes lie one behind the other, as in a materialized view. Time is the thread's own, so that a
 * busy machine counts less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "branch-service/query/filter.h"
#include "common/bson/builder.h"
#include "common/bson/ejson.h"

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

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const struct error *err)
{
    fprintf(stderr, "bench_query: %s\n", err->message);
    exit(1);
}

static void add_document(struct buffer *all, unsigned i)
{
    char text[512];
    bson_t document;
    struct error err;
    snprintf(text, sizeof text,
             "{\"_id\":%u,\"name\":\"user-%u\",\"age\":%u,\"score\":%u.25,\"city\":\"city-%u\",\"tags\":[\"a\",\"%c\"],"
             "\"address\":{\"street\":\"street %u\",\"zip\":\"%u\"},\"orders\":[{\"n\":%u,\"paid\":%s}],\"active\":%s}",
             i, i * 7 % 1000, i * 13 % 90, i * 17 % 1000, i % 10, 'b' + (int)(i % 3), i, i % 100, i % 11, i % 2 ? "true" : "false",
             i % 4 ? "true" : "false");
    if (!ejson_parse(bytes_of(text, strlen(text)), &document, &err))
        die(&err);
    buffer_append(all, bson_get_data(&document), document.len);
    bson_destroy(&document);
}

static void measure(const char *name, const char *spec, struct bytes all, unsigned n)
{
    struct filter *filter;
    struct error err;
    bson_t document;
    unsigned found = 0;
    if (!ejson_parse(bytes_of(spec, strlen(spec)), &document, &err) ||
        !filter_compile(bytes_of(bson_get_data(&document), document.len), &filter, &err))
        die(&err);
    double began = thread_seconds();
    for (const uint8_t *at = all.data; at < all.data + all.len; at += get_u32(at)) {
        bool matches;
        if (!filter_matches(filter, bytes_of(at, get_u32(at)), &matches, &err))
            die(&err);
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
    for (unsigned i = 0; i < n; i++)
        add_document(&all, i);
    if (all.failed)
        return fprintf(stderr, "bench_query: no memory for %u documents\n", n), 1;
    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        measure(filters[i].name, filters[i].spec, buffer_bytes(&all), n);
    buffer_destroy(&all);
    return 0;
}
