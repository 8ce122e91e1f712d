/* How fast the library applies an update to small documents, on one core. One JSON line for each update.
 *
 *   bench_update [SECONDS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/query_documents.h"
#include "branch-service/query/update.h"

enum { DOCUMENTS = 1024, ROUND = 4 };

static const struct {
    const char *name, *update, *array_filters;
} cases[] = {
    { "one operator", "{\"$inc\":{\"visits\":1}}", NULL },
    { "three operators", "{\"$set\":{\"state\":\"done\"},\"$inc\":{\"visits\":1},\"$unset\":{\"draft\":\"\"}}", NULL },
    { "three operators, dotted", "{\"$set\":{\"address.city\":\"Ulm\"},\"$max\":{\"best\":70},\"$push\":{\"tags\":\"new\"}}", NULL },
    { "$push with $sort and $slice", "{\"$push\":{\"scores\":{\"$each\":[5],\"$sort\":1,\"$slice\":-5}}}", NULL },
    { "$[name]", "{\"$inc\":{\"items.$[i].n\":1}}", "[{\"i.n\":{\"$gt\":2}}]" },
    { "replacement", "{\"state\":\"done\",\"visits\":1}", NULL },
};

static struct update *compile(const char *text, const char *array_filters)
{
    char wrapped[256];
    struct update *update;
    struct error err;
    bson_iter_t iter;
    struct update_options options = { 0 };
    snprintf(wrapped, sizeof wrapped, "{\"filters\":%s}", array_filters ? array_filters : "[]");
    bson_t spec, filters;
    parse_document(text, &spec);
    parse_document(wrapped, &filters);
    bson_iter_init_find(&iter, &filters, "filters");
    bson_iter_array(&iter, &(uint32_t) { 0 }, &options.array_filters.data);
    options.array_filters.len = get_u32(options.array_filters.data);
    if (!update_compile(bytes_of_document(&spec), &options, &update, &err))
        query_bench_fail(&err);
    bson_destroy(&spec);
    bson_destroy(&filters);
    return update;
}

static bool apply(const struct update *update, const bson_t *document)
{
    bson_t image;
    bool changed;
    struct error err;
    if (!update_apply(update, bytes_of_document(document), &image, &changed, &err))
        query_bench_fail(&err);
    if (changed)
        bson_destroy(&image);
    return changed;
}

int main(int argc, char **argv)
{
    static bson_t documents[DOCUMENTS];
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    for (int i = 0; i < DOCUMENTS; i++) {
        char text[DOCUMENT_TEXT];
        snprintf(text, sizeof text,
                 "{\"_id\":%d,\"name\":\"customer "
                 "%d\",\"state\":\"open\",\"visits\":%d,\"draft\":true,\"best\":60,\"address\":{\"city\":\"Bonn\","
                 "\"street\":\"%d, Long Street\"},\"tags\":[\"a\",\"b\"],\"scores\":[3,8,2],\"items\":[{\"n\":1},{\"n\":3},{\"n\":9}]}",
                 i, i, i % 7, i);
        parse_document(text, &documents[i]);
    }
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct update *update = compile(cases[c].update, cases[c].array_filters);
        uint64_t n = 0, changed = 0;
        double began = thread_seconds(), now = began;
        for (; now - began < seconds; now = thread_seconds()) {
            for (int i = 0; i < ROUND * DOCUMENTS; i++, n++)
                changed += apply(update, &documents[i % DOCUMENTS]);
        }
        printf("{\"bench\":\"update\",\"what\":\"%s\",\"bytes\":%u,\"documents\":%llu,\"changed\":%llu,\"per_second\":%.0f}\n",
               cases[c].name, documents[0].len, (unsigned long long)n, (unsigned long long)changed, (double)n / (now - began));
        update_free(update);
    }
    for (int i = 0; i < DOCUMENTS; i++)
        bson_destroy(&documents[i]);
    return 0;
}
