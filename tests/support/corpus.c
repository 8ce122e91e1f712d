#include "tests/support/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "branch-service/query/query_error.h"
#include "tests/support/bson_support.h"

void corpus_fail(struct corpus_case *c, const char *what, const char *detail)
{
    if (c->failure)
        return;
    c->failure = what;
    snprintf(c->detail, sizeof c->detail, "%s", detail);
}

void corpus_fail_document(struct corpus_case *c, const char *what, struct bytes document)
{
    char *text = text_of_bytes(document, EJSON_RELAXED);
    corpus_fail(c, what, text);
    free(text);
}

void corpus_refuse(struct corpus_case *c, const struct error *err)
{
    c->refused = true;
    c->refusal = *err;
}

bool corpus_field(struct bytes document, const char *name, struct element *out)
{
    return element_find(document, name, strlen(name), out);
}

size_t corpus_documents(struct bytes array, struct bytes *documents)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    element_reader_init(&reader, array);
    while (n < CORPUS_MAX_DOCS && element_next(&reader, &e))
        documents[n++] = e.value;
    return n;
}

bool corpus_equal_values(const struct element *got, const struct element *expected)
{
    struct element type;
    if (expected->type == BSON_TYPE_DOCUMENT && corpus_field(expected->value, "$$type", &type))
        return bytes_equal(bytes_of_string(element_type_name(got->type)), element_string(&type));
    if (got->type != expected->type)
        return false;
    if (got->type == BSON_TYPE_DOCUMENT || got->type == BSON_TYPE_ARRAY)
        return corpus_equal(got->value, expected->value);
    return bytes_equal(got->value, expected->value);
}

bool corpus_equal(struct bytes got, struct bytes expected)
{
    struct element_reader ra, rb;
    struct element a, b;
    element_reader_init(&ra, got);
    element_reader_init(&rb, expected);
    for (;;) {
        bool more_a = element_next(&ra, &a), more_b = element_next(&rb, &b);
        if (!more_a || !more_b)
            return more_a == more_b;
        if (!element_is_named(&a, b.name, b.name_len) || !corpus_equal_values(&a, &b))
            return false;
    }
}

static void check_refusal(struct corpus_case *c, bool must_fail)
{
    struct element code;
    if (!must_fail || !c->refused) {
        corpus_fail(c, must_fail ? "is accepted" : "is refused", c->refusal.message);
        return;
    }
    c->failure = NULL; /* what came of it is of no interest */
    if (corpus_field(c->root, "code", &code) && query_error_code(&c->refusal) != element_int32(&code))
        corpus_fail(c, "is refused with another code", c->refusal.message);
}

static bool check_case(struct corpus_case *c, corpus_run_fn *run)
{
    struct element id, e;
    if (!corpus_field(c->root, "id", &id))
        corpus_fail(c, "is a case without id", "");
    else
        snprintf(c->id, sizeof c->id, "%.*s", (int)element_string(&id).len, (const char *)element_string(&id).data);
    bool must_fail = corpus_field(c->root, "error", &e);
    if (must_fail == corpus_field(c->root, "expect", &e))
        corpus_fail(c, "needs either error or expect", "");
    if (!c->failure) {
        run(c);
        if (must_fail || c->refused)
            check_refusal(c, must_fail);
    }
    return !c->failure;
}

static int run_file(const char *folder, const char *name, corpus_run_fn *run, int *failures)
{
    char path[1024];
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    int n = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while ((len = getline(&line, &capacity, file)) > 0) {
        bson_t document;
        struct error err;
        struct corpus_case c = { .file = name };
        n++;
        if (!ejson_parse(bytes_of(line, (size_t)len), &document, &err)) {
            print_error("%s:%d: %s\n", name, n, err.message);
            (*failures)++;
            continue;
        }
        c.root = bytes_of_bson(&document);
        if (!check_case(&c, run)) {
            print_error("%s %s %s: %s\n", name, c.id, c.failure, c.detail);
            (*failures)++;
        }
        bson_destroy(&document);
    }
    free(line);
    fclose(file);
    return n;
}

int corpus_run(const char *kind, corpus_run_fn *run)
{
    char folder[512];
    int n = 0, failures = 0;
    struct dirent *entry;
    snprintf(folder, sizeof folder, ARGON_SOURCE_DIR "/tests/corpus/%s", kind);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        const char *end = strrchr(entry->d_name, '.');
        if (end && strcmp(end, ".jsonl") == 0)
            n += run_file(folder, entry->d_name, run, &failures);
    }
    closedir(dir);
    print_message("%s: %d cases\n", kind, n);
    assert_int_equal(failures, 0);
    assert_true(n > 0);
    return n;
}

void corpus_has_file(const char *kind, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, ARGON_SOURCE_DIR "/tests/corpus/%s/%s.jsonl", kind, *name == '$' ? name + 1 : name);
    if (access(path, R_OK) != 0)
        fail_msg("%s has no cases in %s", name, path);
}
