/* Query semantics as data: every line of tests/corpus/{filter,update}/ (*.jsonl) is one fact about MongoDB 7.0.
 *
 *   {"id", "kind": "filter", "docs", "filter", "expect": [_id, ...]}
 *   {"id", "kind": "update", "docs", "filter", "update", "options": {"multi"}, "expect": {"docs", "n", "nModified"}}
 *
 * or "error": true instead of expect. Documents and expectations are compared byte for byte, matching _ids as
 * a set. MongoDB's error codes stand in "code" for the reader; ours are INVALID_ARGUMENT throughout.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>

#include "branch-service/query/filter.h"
#include "branch-service/query/update.h"
#include "common/bson/bson_check.h"
#include "common/bson/element.h"
#include "common/bson/value_compare.h"
#include "tests/support/bson_support.h"

enum { MAX_DOCS = 64 };

/* A case, and what makes it fail. */
struct query_case {
    const char *file;
    struct bytes root;
    char id[64];
    const char *failure;
    char detail[512];
};

static bool field(struct bytes document, const char *name, struct element *out)
{
    return element_find(document, name, strlen(name), out);
}

static bool fail_case(struct query_case *c, const char *what, const char *detail)
{
    c->failure = what;
    snprintf(c->detail, sizeof c->detail, "%s", detail);
    return false;
}

static size_t read_documents(struct bytes array, struct bytes *documents)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    element_reader_init(&reader, array);
    while (n < MAX_DOCS && element_next(&reader, &e))
        documents[n++] = e.value;
    return n;
}

static bool run_filter(struct query_case *c, const struct filter *filter)
{
    struct element docs, expect;
    struct bytes documents[MAX_DOCS];
    if (!field(c->root, "docs", &docs) || !field(c->root, "expect", &expect))
        return fail_case(c, "no docs or expect", "");
    size_t n = read_documents(docs.value, documents);
    for (size_t i = 0; i < n; i++) {
        struct element id, wanted;
        struct element_reader reader;
        bool expected = false;
        if (!field(documents[i], "_id", &id))
            return fail_case(c, "a document without _id", "");
        element_reader_init(&reader, expect.value);
        while (element_next(&reader, &wanted))
            expected |= value_compare_elements(&id, &wanted) == 0;
        if (filter_matches(filter, documents[i]) != expected) {
            char *text = text_of_bytes(documents[i], EJSON_RELAXED);
            fail_case(c, expected ? "does not match" : "matches", text);
            free(text);
            return false;
        }
    }
    return true;
}

/* *failed: the update was refused. */
static bool run_update(struct query_case *c, const struct filter *filter, const struct update *update, bool multi, bool *failed)
{
    struct element docs, expect = { 0 }, expected_docs, e;
    struct bytes documents[MAX_DOCS], expected[MAX_DOCS];
    struct error err;
    int n_matched = 0, n_modified = 0;
    *failed = false;
    if (!field(c->root, "docs", &docs))
        return fail_case(c, "no docs", "");
    size_t n = read_documents(docs.value, documents), n_expected = 0;
    bool has_expect = field(c->root, "expect", &expect);
    if (has_expect && field(expect.value, "docs", &expected_docs))
        n_expected = read_documents(expected_docs.value, expected);
    if (has_expect && n_expected != n)
        return fail_case(c, "another number of documents", "");
    for (size_t i = 0; i < n; i++) {
        bson_t result;
        bool changed = false;
        struct bytes after = documents[i];
        bool applies = (multi || n_matched == 0) && filter_matches(filter, documents[i]);
        if (applies) {
            n_matched++;
            if (!update_apply(update, documents[i], &result, &changed, &err)) {
                *failed = true;
                return fail_case(c, "refused", err.message);
            }
            n_modified += changed;
            if (changed)
                after = bytes_of_bson(&result);
        }
        bool same = !has_expect || bytes_equal(after, expected[i]);
        if (!same) {
            char *text = text_of_bytes(after, EJSON_CANONICAL);
            fail_case(c, "another document", text);
            free(text);
        }
        if (changed && !bson_check(after, &err))
            same = fail_case(c, "broken BSON", err.message);
        if (changed)
            bson_destroy(&result);
        if (!same)
            return false;
    }
    if (has_expect && field(expect.value, "n", &e) && element_int32(&e) != n_matched)
        return fail_case(c, "another n", "");
    if (has_expect && field(expect.value, "nModified", &e) && element_int32(&e) != n_modified)
        return fail_case(c, "another nModified", "");
    return true;
}

/* Runs a case that is well-formed in itself; *refused with the error's text in detail. */
static bool run_case(struct query_case *c, bool *refused)
{
    struct element kind, spec, options, e;
    struct filter *filter = NULL;
    struct update *update = NULL;
    struct error err;
    bool ok = false;
    *refused = false;
    if (!field(c->root, "kind", &kind))
        return fail_case(c, "no kind", "");
    struct bytes filter_spec = field(c->root, "filter", &spec) ? spec.value : bytes_of(NULL, 0);
    if (!filter_compile(filter_spec, &filter, &err)) {
        *refused = true;
        return fail_case(c, "refused", err.message);
    }
    if (bytes_equal(element_string(&kind), bytes_of_string("filter"))) {
        ok = run_filter(c, filter);
    } else if (!field(c->root, "update", &spec)) {
        fail_case(c, "no update", "");
    } else if (!update_compile(spec.value, &update, &err)) {
        *refused = true;
        fail_case(c, "refused", err.message);
    } else {
        bool multi = field(c->root, "options", &options) && field(options.value, "multi", &e) && *e.value.data;
        ok = run_update(c, filter, update, multi, refused);
    }
    filter_free(filter);
    update_free(update);
    return ok;
}

static bool check_case(struct query_case *c)
{
    struct element id, e;
    bool refused;
    if (!field(c->root, "id", &id))
        return fail_case(c, "a case without id", "");
    snprintf(c->id, sizeof c->id, "%.*s", (int)element_string(&id).len, (const char *)element_string(&id).data);
    bool must_fail = field(c->root, "error", &e);
    if (must_fail == field(c->root, "expect", &e))
        return fail_case(c, "either error or expect", "");
    bool ok = run_case(c, &refused);
    if (!must_fail)
        return ok;
    return refused || fail_case(c, "is accepted", "");
}

static int run_file(const char *folder, const char *name, int *failures)
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
        struct query_case c = { .file = name };
        n++;
        if (!ejson_parse(bytes_of(line, (size_t)len), &document, &err)) {
            print_error("%s:%d: %s\n", name, n, err.message);
            (*failures)++;
            continue;
        }
        c.root = bytes_of_bson(&document);
        if (!check_case(&c)) {
            print_error("%s %s: %s: %s\n", name, c.id, c.failure, c.detail);
            (*failures)++;
        }
        bson_destroy(&document);
    }
    free(line);
    fclose(file);
    return n;
}

static int run_folder(const char *kind)
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
            n += run_file(folder, entry->d_name, &failures);
    }
    closedir(dir);
    print_message("%s: %d cases\n", kind, n);
    assert_int_equal(failures, 0);
    return n;
}

static void filters_match_as_in_mongodb(void **state)
{
    (void)state;
    assert_true(run_folder("filter") > 0);
}

static void updates_change_as_in_mongodb(void **state)
{
    (void)state;
    assert_true(run_folder("update") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_match_as_in_mongodb),
        cmocka_unit_test(updates_change_as_in_mongodb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
