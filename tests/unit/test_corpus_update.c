/* tests/corpus/update (see tests/support/corpus.h):
 *
 *   {"docs", "filter", "update", "options": {"multi", "upsert", "arrayFilters"},
 *    "expect": {"docs", "n", "nModified", "upserted"}}
 *
 * An update that is an array is a pipeline. The docs in expect are the whole collection afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/query/query_error.h"
#include "branch-service/query/update.h"
#include "branch-service/query/update_ops.h"
#include "common/bson/bson_check.h"
#include "common/bson/value_compare.h"
#include "tests/support/bson_support.h"
#include "tests/support/corpus.h"

struct collection {
    struct bytes docs[CORPUS_MAX_DOCS];
    bson_t images[CORPUS_MAX_DOCS]; /* those that docs borrow from */
    size_t n_docs, n_images;
    int n_matched, n_modified;
    bool inserted;
};

static bool option(struct bytes root, const char *name, struct element *out)
{
    struct element options;
    return corpus_field(root, "options", &options) && corpus_field(options.value, name, out);
}

static bool is_on(struct bytes root, const char *name)
{
    struct element e;
    return option(root, name, &e) && e.type == BSON_TYPE_BOOL && *e.value.data;
}

static bool change_matches(struct collection *c, const struct filter *filter, const struct update *update, bool multi, struct error *err)
{
    for (size_t i = 0; i < c->n_docs && (multi || c->n_matched == 0); i++) {
        bool matches, changed;
        if (!filter_matches(filter, c->docs[i], &matches, err))
            return false;
        if (!matches)
            continue;
        c->n_matched++;
        if (!update_apply(update, c->docs[i], &c->images[c->n_images], &changed, err))
            return false;
        if (!changed)
            continue;
        c->docs[i] = bytes_of_bson(&c->images[c->n_images++]);
        c->n_modified++;
    }
    return true;
}

/* No second document gets an _id that is there. */
static bool insert(struct collection *c, const struct update *update, struct bytes filter, struct error *err)
{
    struct element new_id, id;
    if (!update_insert(update, filter, &c->images[c->n_images], err))
        return false;
    struct bytes image = bytes_of_bson(&c->images[c->n_images++]);
    assert_true(corpus_field(image, "_id", &new_id));
    for (size_t i = 0; i < c->n_docs; i++) {
        if (corpus_field(c->docs[i], "_id", &id) && value_compare_elements(&id, &new_id) == 0)
            return query_error(err, MONGO_DUPLICATE_KEY, "there is one already");
    }
    c->docs[c->n_docs++] = image;
    c->n_matched = 1;
    c->inserted = true;
    return true;
}

/* All that can be refused. */
static bool execute(struct bytes root, struct collection *c, struct error *err)
{
    struct element spec, filter_spec, array_filters;
    struct filter *filter = NULL;
    struct update *update = NULL;
    assert_true(corpus_field(root, "update", &spec));
    struct bytes conditions = corpus_field(root, "filter", &filter_spec) ? filter_spec.value : bytes_of(NULL, 0);
    bool ok = filter_compile(conditions, &filter, err) && (!is_on(root, "upsert") || update_check_upsert(conditions, err));
    struct update_options options = { .is_pipeline = spec.type == BSON_TYPE_ARRAY, .many = is_on(root, "multi"), .filter = filter };
    if (ok && option(root, "arrayFilters", &array_filters)) {
        options.array_filters = array_filters.value;
        if (array_filters.type != BSON_TYPE_ARRAY) /* what a request's type rules out */
            ok = query_error(err, MONGO_TYPE_MISMATCH, "array filters are an array");
    }
    ok = ok && update_compile(spec.value, &options, &update, err) && change_matches(c, filter, update, options.many, err);
    if (ok && c->n_matched == 0 && is_on(root, "upsert"))
        ok = insert(c, update, conditions, err);
    update_free(update);
    filter_free(filter);
    return ok;
}

static void check_number(struct corpus_case *c, struct bytes expect, const char *name, int got)
{
    struct element e;
    if (corpus_field(expect, name, &e) && element_int32(&e) != got)
        corpus_fail(c, "has another", name);
}

static void check_outcome(struct corpus_case *c, const struct collection *collection)
{
    struct element expect, docs, upserted, id;
    struct bytes expected[CORPUS_MAX_DOCS];
    struct error err;
    if (!corpus_field(c->root, "expect", &expect))
        return; /* corpus_run says that it is accepted */
    assert_true(corpus_field(expect.value, "docs", &docs));
    if (corpus_documents(docs.value, expected) != collection->n_docs) {
        corpus_fail(c, "makes another number of documents", "");
        return;
    }
    for (size_t i = 0; i < collection->n_docs; i++) {
        if (!bson_check(collection->docs[i], &err))
            corpus_fail(c, "makes broken BSON", err.message);
        else if (!corpus_equal(collection->docs[i], expected[i]))
            corpus_fail_document(c, "makes another document", collection->docs[i]);
    }
    check_number(c, expect.value, "n", collection->n_matched);
    check_number(c, expect.value, "nModified", collection->n_modified);
    if (corpus_field(expect.value, "upserted", &upserted) != collection->inserted)
        corpus_fail(c, collection->inserted ? "is inserted" : "is not inserted", "");
    else if (collection->inserted && corpus_field(collection->docs[collection->n_docs - 1], "_id", &id) &&
             !corpus_equal_values(&id, &upserted))
        corpus_fail(c, "has another _id", "");
}

static void run(struct corpus_case *c)
{
    struct collection collection = { .n_docs = 0 };
    struct element docs;
    struct error err;
    if (!corpus_field(c->root, "docs", &docs)) {
        corpus_fail(c, "has no docs", "");
        return;
    }
    collection.n_docs = corpus_documents(docs.value, collection.docs);
    if (execute(c->root, &collection, &err))
        check_outcome(c, &collection);
    else
        corpus_refuse(c, &err);
    for (size_t i = 0; i < collection.n_images; i++)
        bson_destroy(&collection.images[i]);
}

static void updates_change_as_in_mongodb(void **state)
{
    (void)state;
    corpus_run("update", run);
}

static void every_operator_has_cases(void **state)
{
    (void)state;
    const struct update_op *op;
    for (size_t i = 0; (op = update_op_at(i)); i++)
        corpus_has_file("update", op->name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_change_as_in_mongodb),
        cmocka_unit_test(every_operator_has_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
