/* How long a query takes to reach its documents, in collections of different sizes, without services: the specs are compiled,
 * the view is walked.
 *
 *   bench_walk [DOCUMENTS]      (the largest collection; 1,000,000 unless given)
 *
 * Documents of some 60 bytes have the _ids 0, 1, 2, ... What seeks by _id must not depend on how many there are. Time is the
 * thread's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "branch-service/documents/document_walk.h"
#include "common/bson/builder.h"
#include "common/bson/ejson.h"
#include "common/bson/key_encoding.h"

enum { LIST = 100 };

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const struct error *err)
{
    fprintf(stderr, "bench_walk: %s\n", err->message);
    exit(1);
}

static struct tree *make_tree(struct memory_budget *budget, unsigned n)
{
    struct tree *empty;
    struct tree_edit *edit;
    struct buffer key = { 0 };
    struct error err;
    if (!tree_new(budget, &empty, &err) || !tree_edit_begin(empty, &edit, &err))
        die(&err);
    for (unsigned i = 0; i < n; i++) {
        char text[128];
        bson_t document;
        struct element id;
        snprintf(text, sizeof text, "{\"_id\":%u,\"name\":\"user-%u\",\"age\":%u}", i, i, i % 90);
        if (!ejson_parse(bytes_of_string(text), &document, &err))
            die(&err);
        struct bytes bytes = bytes_of(bson_get_data(&document), document.len);
        buffer_clear(&key);
        if (!element_find(bytes, "_id", 3, &id) || !key_encode_element(&id, &key, &err) ||
            !tree_edit_put(edit, buffer_bytes(&key), bytes, &err))
            die(&err);
        bson_destroy(&document);
    }
    buffer_destroy(&key);
    tree_unref(empty);
    return tree_edit_end(edit);
}

/* At most `limit` documents; how many there were. */
static unsigned run(const struct tree *tree, const char *text, bool backwards, unsigned limit)
{
    struct document_walk walk;
    struct filter *filter;
    struct tree_item item;
    struct error err;
    bson_t spec;
    unsigned n = 0;
    bool found = true;
    if (!ejson_parse(bytes_of_string(text), &spec, &err) || !filter_compile(bytes_of(bson_get_data(&spec), spec.len), &filter, &err))
        die(&err);
    document_walk_begin(&walk, tree, filter, backwards, (struct caller) { 0 });
    while (found && n < limit) {
        if (!document_walk_next(&walk, &item, &found, &err))
            die(&err);
        n += found;
    }
    filter_free(filter);
    bson_destroy(&spec);
    return n;
}

/* What is asked for lies anywhere in the collection. */
static void write_spec(char *text, size_t size, unsigned kind, unsigned documents, unsigned turn)
{
    unsigned at = (unsigned)((uint64_t)turn * 2654435761u % (documents - LIST));
    if (kind == 0) {
        snprintf(text, size, "{\"_id\":%u}", at);
    } else if (kind == 1) {
        snprintf(text, size, "{\"_id\":{\"$gte\":%u,\"$lt\":%u}}", at, at + LIST);
    } else if (kind == 2) {
        size_t len = (size_t)snprintf(text, size, "{\"_id\":{\"$in\":[");
        for (unsigned i = 0; i < LIST; i++)
            len +=
                (size_t)snprintf(text + len, size - len, "%s%u", i ? "," : "", (unsigned)(((uint64_t)at + (uint64_t)i * 7919) % documents));
        snprintf(text + len, size - len, "]}}");
    } else {
        snprintf(text, size, "{}");
    }
}

static void measure(const struct tree *tree, unsigned documents)
{
    static const struct {
        const char *name;
        unsigned found;
        bool backwards;
        unsigned turns;
    } kinds[] = {
        { "one _id", 1, false, 20000 },
        { "a range of 100", LIST, false, 5000 },
        { "$in of 100", LIST, false, 1000 },
        { "the last 100", LIST, true, 5000 },
    };
    for (unsigned kind = 0; kind < ARRAY_LEN(kinds); kind++) {
        double began = thread_seconds();
        for (unsigned turn = 0; turn < kinds[kind].turns; turn++) {
            char text[2048];
            write_spec(text, sizeof text, kind, documents, turn);
            if (run(tree, text, kinds[kind].backwards, LIST) != kinds[kind].found) {
                fprintf(stderr, "bench_walk: %s finds another number of documents\n", kinds[kind].name);
                exit(1);
            }
        }
        printf("{\"bench\":\"walk\",\"query\":\"%s\",\"documents\":%u,\"micros\":%.2f}\n", kinds[kind].name, documents,
               (thread_seconds() - began) * 1e6 / kinds[kind].turns);
    }
}

int main(int argc, char **argv)
{
    unsigned most = argc > 1 ? (unsigned)atoi(argv[1]) : 1000000;
    for (unsigned n = 1000; n <= most; n *= 10) {
        struct memory_budget budget = { 0 };
        struct tree *tree = make_tree(&budget, n);
        measure(tree, n);
        tree_unref(tree);
    }
    return 0;
}
