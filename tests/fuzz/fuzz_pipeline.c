/* A pipeline {p: [stages]} compiles or is refused by name. Over two documents it ends, within its memory, and what it
 * hands on is BSON. */
#include "branch-service/query/pipeline.h"
#include "common/base/caller.h"
#include "common/base/limits.h"
#include "tests/fuzz/fuzz_documents.h"

struct source {
    struct bytes documents[2];
    size_t next;
    int64_t held; /* bytes that the meter knows of */
};

static bool next(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct source *source = ctx;
    (void)err;
    *found = source->next < 2 && source->documents[source->next].len > 0;
    if (*found)
        *document = source->documents[source->next++];
    return true;
}

static bool open_other(void *ctx, struct bytes collection, const struct filter *filter, struct document_iterator *iterator,
                       struct error *err)
{
    struct source *source = malloc(sizeof *source);
    (void)collection;
    (void)filter;
    (void)err;
    *source = *(struct source *)ctx;
    source->next = 0;
    *iterator = (struct document_iterator) { .next = next, .close = free, .ctx = source };
    return true;
}

static bool take(void *ctx, size_t bytes, struct error *err)
{
    struct source *source = ctx;
    (void)err;
    source->held += (int64_t)bytes;
    return true;
}

static void give(void *ctx, size_t bytes)
{
    struct source *source = ctx;
    source->held -= (int64_t)bytes;
    must(source->held >= 0);
}

static void run_all(const struct pipeline *pipeline, struct source *source)
{
    struct pipeline_environment environment = { .open = open_other, .ctx = source, .memory_bytes = MIB };
    struct pipeline_run *run;
    struct bytes document;
    struct error err = { 0 };
    bool found = true;
    if (!pipeline_start(pipeline, (struct document_iterator) { .next = next, .ctx = source }, &environment, &run, &err)) {
        must(err.message[0]);
        return;
    }
    for (int i = 0; found && i < 1000; i++) {
        if (!pipeline_next(run, &document, &found, &err)) {
            must(err.message[0]);
            break;
        }
        must(!found || (document.len >= 5 && get_u32(document.data) == document.len && document.data[document.len - 1] == 0));
    }
    pipeline_stop(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes input = bytes_of(data, len), spec = fuzz_next_document(&input);
    struct source source = { 0 };
    struct pipeline *pipeline;
    struct element stages;
    struct error err = { 0 };
    const struct meter meter = { .take = take, .give = give, .ctx = &source };
    const struct caller caller = { .meter = &meter };
    caller_set(&caller);
    for (int i = 0; i < 2; i++)
        source.documents[i] = fuzz_next_document(&input);
    if (spec.len && element_find(spec, "p", 1, &stages) && stages.type == BSON_TYPE_ARRAY) {
        if (pipeline_compile(stages.value, NULL, &pipeline, &err)) {
            run_all(pipeline, &source);
            pipeline_free(pipeline);
        } else {
            must(err.message[0]);
        }
        must(source.held == 0);
    }
    caller_set(NULL);
    free((void *)spec.data);
    free((void *)source.documents[0].data);
    free((void *)source.documents[1].data);
    return 0;
}
