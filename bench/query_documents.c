#include "bench/query_documents.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/bson/ejson.h"

void query_bench_fail(const struct error *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

double thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct bytes bytes_of_document(const bson_t *document)
{
    return bytes_of(bson_get_data(document), document->len);
}

void parse_document(const char *text, bson_t *document)
{
    struct error err;
    if (!ejson_parse(bytes_of_string(text), document, &err))
        query_bench_fail(&err);
}

void make_documents(unsigned n, void (*write)(unsigned i, char text[DOCUMENT_TEXT]), struct buffer *all)
{
    char text[DOCUMENT_TEXT];
    bson_t document;
    for (unsigned i = 0; i < n; i++) {
        write(i, text);
        parse_document(text, &document);
        buffer_append(all, bson_get_data(&document), document.len);
        bson_destroy(&document);
    }
    if (!all->failed)
        return;
    fprintf(stderr, "no memory for %u documents\n", n);
    exit(1);
}
