#include "branch-service/collection/collection.h"

const struct collection_kind wal_collection = {
    .insert = documents_insert,
    .update = documents_update,
    .remove = documents_delete,
    .find_and_modify = documents_find_and_modify,
    .bulk_write = documents_bulk_write,
    .find = documents_find,
    .count = documents_count,
    .estimate = documents_estimate,
    .distinct = documents_distinct,
    .aggregate = documents_aggregate,
    .list = collections_list,
    .create = collections_create,
    .rename = collections_rename,
    .drop = collections_drop,
    .set_indexes = collections_set_indexes,
};
