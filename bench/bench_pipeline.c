/* How many documents a second go through a pipeline or a projection on one core, in the query library alone.
 *
 *   bench_pipeline [DOCUMENTS]
 *
 * Time is the thread's own, so that a busy machine counts less.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/query_documents.h"
#include "branch-service/query/pipeline.h"

static const struct {
    const char *name, *stages;
} pipelines[] = {
    { "$group by one field", "{\"p\":[{\"$group\":{\"_id\":\"$city\",\"n\":{\"$sum\":1},\"total\":{\"$sum\":\"$score\"}}}]}" },
    { "$group by 1000 names", "{\"p\":[{\"$group\":{\"_id\":\"$name\",\"greatest\":{\"$max\":\"$age\"}}}]}" },
    { "$match, $group", "{\"p\":[{\"$match\":{\"age\":{\"$gt\":50}}},{\"$group\":{\"_id\":\"$city\",\"average\":{\"$avg\":\"$age\"}}}]}" },
    { "$project", "{\"p\":[{\"$project\":{\"name\":1,\"next\":{\"$add\":[\"$age\",1]}}}]}" },
    { "$sort, $limit 10", "{\"p\":[{\"$sort\":{\"score\":-1}},{\"$limit\":10}]}" },
    { "$unwind", "{\"p\":[{\"$unwind\":\"$tags\"}]}" },
};

struct source {
    const uint8_t *at, *end;
};

static bool next(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct source *source = ctx;
    (void)err;
    *found = source->at < source->end;
    if (*found) {
        *document = bytes_of(source->at, get_u32(source->at));
        source->at += document->len;
    }
    return true;
}

static void write_document(unsigned i, char text[DOCUMENT_TEXT])
{
    snprintf(text, DOCUMENT_TEXT,
             "{\"_id\":%u,\"name\":\"user-%u\",\"age\":%u,\"score\":%u.25,\"city\":\"city-%u\",\"tags\":[\"a\",\"%c\"]}", i, i * 7 % 1000,
             i * 13 % 90, i * 17 % 1000, i % 10, 'b' + (int)(i % 3));
}

static void measure(const char *name, const char *text, struct bytes all, unsigned n)
{
    struct pipeline_environment environment = { .memory_bytes = PIPELINE_MEMORY_BYTES };
    struct source source = { all.data, all.data + all.len };
    struct pipeline *pipeline;
    struct pipeline_run *run;
    struct element stages;
    struct bytes result;
    struct error err;
    bson_t document;
    unsigned results = 0;
    bool found = true;
    parse_document(text, &document);
    if (!element_find(bytes_of_document(&document), "p", 1, &stages) || !pipeline_compile(stages.value, NULL, &pipeline, &err) ||
        !pipeline_start(pipeline, (struct document_iterator) { .next = next, .ctx = &source }, &environment, &run, &err))
        query_bench_fail(&err);
    double began = thread_seconds();
    while (found) {
        if (!pipeline_next(run, &result, &found, &err))
            query_bench_fail(&err);
        results += found;
    }
    double seconds = thread_seconds() - began;
    printf("{\"bench\":\"pipeline\",\"pipeline\":\"%s\",\"documents\":%u,\"results\":%u,\"documents_per_second\":%.0f}\n", name, n, results,
           (double)n / seconds);
    pipeline_stop(run);
    pipeline_free(pipeline);
    bson_destroy(&document);
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 1000000;
    struct buffer all = { 0 };
    make_documents(n, write_document, &all);
    for (size_t i = 0; i < ARRAY_LEN(pipelines); i++)
        measure(pipelines[i].name, pipelines[i].stages, buffer_bytes(&all), n);
    buffer_destroy(&all);
    return 0;
}
