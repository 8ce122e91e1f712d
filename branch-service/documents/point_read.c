#include "branch-service/documents/point_read.h"

#include "branch-service/catalog/names.h"
#include "common/bson/bson_check.h"
#include "common/bson/element.h"

static void on_checked(struct project_check *check)
{
    struct point_read *read = (struct point_read *)check;
    read->done(read);
}

/* Whatever else a filter says may take long to match, and memory. */
static bool is_id_alone(struct bytes filter)
{
    struct element_reader reader, operators;
    struct element e, operator;
    element_reader_init(&reader, filter);
    if (!element_next(&reader, &e) || !element_is_named(&e, "_id", 3) || element_next(&reader, &operator))
        return false;
    if (e.type != BSON_TYPE_DOCUMENT)
        return true;
    element_reader_init(&operators, e.value);
    return !element_next(&operators, &operator) || !element_name_is_operator(&operator);
}

bool point_read_start(struct point_read *read, struct registry *registry, const struct collection_path *path, struct bytes filter,
                      int64_t deadline, void (*done)(struct point_read *read))
{
    struct error err;
    *read = (struct point_read) {
        .check = { .deadline = deadline, .done = on_checked },
        .registry = registry,
        .path = *path,
        .done = done,
    };
    if (filter.len == 0 || filter.len > POINT_READ_MAX_FILTER || !name_check("branch", path->branch, &err) ||
        !name_check_collection(path->collection, &err) || !bson_check(filter, &err) || !is_id_alone(filter) ||
        !filter_compile(filter, &read->filter, &err))
        return false;
    read->project = filter_single_id(read->filter, &read->key) ? registry_peek(registry, path->project, &read->as_of) : NULL;
    if (!read->project) {
        filter_free(read->filter);
        return false;
    }
    project_check_start(read->project, &read->check);
    return true;
}

bool point_read_finish(struct point_read *read, struct bytes *document, uint64_t *lsn)
{
    struct tree_item item = { 0 };
    if (read->check.freshness != FRESHNESS_FRESH || !registry_is_current(read->registry, read->project, &read->as_of) ||
        !project_open_cached(read->project, read->path.branch, read->path.collection, &read->target))
        return false;
    bool found = read->target.documents && tree_get(read->target.documents, read->key, &item);
    if (found && item.document.len > POINT_READ_MAX_DOCUMENT)
        return false;
    struct error unsaid; /* find_open finds it again */
    bool matches = false;
    if (found && !filter_matches(read->filter, item.document, &matches, &unsaid))
        return false;
    *document = matches ? item.document : (struct bytes) { 0 };
    *lsn = read->target.lsn;
    return true;
}

void point_read_destroy(struct point_read *read)
{
    target_destroy(&read->target);
    filter_free(read->filter);
}
