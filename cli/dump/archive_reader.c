#include "cli/dump/archive_reader.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cli/dump/archive_format.h"
#include "cli/dump/crc64.h"
#include "common/base/memory.h"
#include "common/bson/element.h"

enum { NOT_LISTED = -1 };

struct archive_namespace {
    UT_hash_handle hh;
    int64_t collection; /* its place in the prelude */
    uint64_t crc;
    bool ended;
    char key[]; /* "db.collection": a database's name has no dot */
};

bool archive_begins(const uint8_t magic[4])
{
    return get_u32(magic) == ARCHIVE_MAGIC;
}

/* A string without NUL; "" when it is absent. */
static bool get_string(struct archive_reader *reader, struct bytes document, const char *field, const char **text, uint64_t at,
                       struct error *err)
{
    struct element element;
    *text = "";
    if (!element_find(document, field, strlen(field), &element))
        return true;
    struct bytes found = element.type == BSON_TYPE_UTF8 ? element_string(&element) : (struct bytes) { 0 };
    if (element.type != BSON_TYPE_UTF8 || (found.len && memchr(found.data, 0, found.len)))
        return dump_input_damaged(reader->input, at, err, "the field '%s' is not a string without NUL", field);
    *text = arena_strndup(&reader->arena, (const char *)found.data, found.len);
    return *text || error_out_of_memory(err);
}

static struct archive_namespace *find_namespace(struct archive_reader *reader, const char *database, const char *name, bool make,
                                                bool *made)
{
    struct archive_namespace *namespace;
    size_t database_len = strlen(database), len = database_len + 1 + strlen(name);
    char *key = mem_alloc(len + 1);
    snprintf(key, len + 1, "%s.%s", database, name);
    HASH_FIND(hh, reader->namespaces, key, len, namespace);
    *made = !namespace && make;
    if (*made) {
        namespace = mem_zalloc(sizeof *namespace + len + 1);
        memcpy(namespace->key, key, len + 1);
        namespace->collection = NOT_LISTED;
        HASH_ADD_KEYPTR(hh, reader->namespaces, namespace->key, len, namespace);
    }
    free(key);
    return namespace;
}

static bool add_collection(struct archive_reader *reader, struct bytes document, uint64_t at, size_t *capacity, struct error *err)
{
    struct dump_collection collection = { 0 };
    struct element metadata;
    const char *type;
    bool made;
    if (!get_string(reader, document, "db", &collection.database, at, err) ||
        !get_string(reader, document, "collection", &collection.name, at, err) || !get_string(reader, document, "type", &type, at, err))
        return false;
    if (!collection.name[0])
        return dump_input_damaged(reader->input, at, err, "a collection has no name");
    bool has_metadata = element_find(document, "metadata", 8, &metadata) && metadata.type == BSON_TYPE_UTF8;
    struct error wrong;
    if (!metadata_parse(has_metadata ? element_string(&metadata) : (struct bytes) { 0 }, false, &reader->arena, &collection, &wrong))
        return dump_input_damaged(reader->input, at, err, "the metadata of '%s': %s", collection.name, wrong.message);
    if (strcmp(type, "view") == 0)
        collection.not_taken = "a view";
    if (strcmp(type, "timeseries") == 0)
        collection.not_taken = "a time series";
    struct archive_namespace *namespace = find_namespace(reader, collection.database, collection.name, true, &made);
    if (!made)
        return dump_input_damaged(reader->input, at, err, "the collection '%s' comes twice", namespace->key);
    namespace->collection = (int64_t)reader->n_collections;
    if (reader->n_collections == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        reader->collections = mem_realloc(reader->collections, *capacity * sizeof *reader->collections);
    }
    reader->collections[reader->n_collections++] = collection;
    return true;
}

static bool read_prelude(struct archive_reader *reader, struct error *err)
{
    struct dump_input *input = reader->input;
    size_t capacity = 0;
    for (bool header = true;; header = false) {
        enum dump_item item;
        struct bytes document;
        uint64_t at = input->offset;
        if (!dump_input_document(input, &item, &document, err))
            return false;
        if (item == DUMP_END)
            return dump_input_damaged(input, at, err, "it is cut off inside the list of collections");
        if (header && item != DUMP_DOCUMENT)
            return dump_input_damaged(input, at, err, "there is no header");
        if (item == DUMP_TERMINATOR)
            return true;
        if (input->offset > MAX_PRELUDE_BYTES)
            return error_set(err, ERROR_RESOURCE_EXHAUSTED, "'%s': the list of collections is longer than %d bytes", input->name,
                             MAX_PRELUDE_BYTES);
        struct element version;
        bool has_version = header && element_find(document, "version", 7, &version) && version.type == BSON_TYPE_UTF8;
        if (has_version && !bytes_equal(element_string(&version), bytes_of_string(ARCHIVE_VERSION)))
            return error_set(err, ERROR_UNIMPLEMENTED, "'%s': its format has version %.*s; %s is known", input->name,
                             (int)element_string(&version).len, (const char *)element_string(&version).data, ARCHIVE_VERSION);
        if (!header && !add_collection(reader, document, at, &capacity, err))
            return false;
    }
}

bool archive_reader_open(struct archive_reader *reader, struct dump_input *input, struct error *err)
{
    uint8_t magic[4];
    *reader = (struct archive_reader) { .input = input };
    arena_init(&reader->arena, 0);
    if (!dump_input_read(input, magic, sizeof magic, NULL, err))
        return false;
    if (!archive_begins(magic))
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is no archive of mongodump: it begins with 0x%08x, not with 0x%08x",
                         input->name, get_u32(magic), ARCHIVE_MAGIC);
    return read_prelude(reader, err);
}

void archive_reader_close(struct archive_reader *reader)
{
    struct archive_namespace *namespace, *next;
    HASH_ITER(hh, reader->namespaces, namespace, next)
    {
        HASH_DEL(reader->namespaces, namespace);
        free(namespace);
    }
    free(reader->collections);
    arena_destroy(&reader->arena);
    *reader = (struct archive_reader) { 0 };
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

static bool end_namespace(struct archive_reader *reader, struct archive_namespace *namespace, struct bytes header, uint64_t at,
                          struct error *err)
{
    struct element crc;
    if (!element_find(header, "CRC", 3, &crc) || crc.type != BSON_TYPE_INT64)
        return dump_input_damaged(reader->input, at, err, "the end of '%s' has no checksum", namespace->key);
    if ((uint64_t)element_int64(&crc) != namespace->crc)
        return dump_input_damaged(reader->input, at, err, "the checksum of '%s' is %016llx, its documents have %016llx", namespace->key,
                                  (unsigned long long)element_int64(&crc), (unsigned long long)namespace->crc);
    namespace->ended = true;
    return true;
}

static bool begin_block(struct archive_reader *reader, struct bytes header, uint64_t at, struct error *err)
{
    const char *database, *name;
    struct element end;
    bool made;
    if (!get_string(reader, header, "db", &database, at, err) || !get_string(reader, header, "collection", &name, at, err))
        return false;
    if (!name[0])
        return dump_input_damaged(reader->input, at, err, "a block says no collection");
    /* the buckets of a time series are not listed, the series is */
    struct archive_namespace *namespace = find_namespace(reader, database, name, strncmp(name, "system.", 7) == 0, &made);
    if (!namespace)
        return dump_input_damaged(reader->input, at, err, "a block is of '%s.%s', which is not listed at the beginning", database, name);
    if (namespace->ended)
        return dump_input_damaged(reader->input, at, err, "'%s' goes on behind its end", namespace->key);
    reader->current = namespace;
    if (!element_find(header, "EOF", 3, &end) || end.type != BSON_TYPE_BOOL || end.value.data[0] == 0)
        return true;
    return end_namespace(reader, namespace, header, at, err);
}

/* A view has no documents, and need not have an end. */
static bool check_whole(struct archive_reader *reader, struct error *err)
{
    for (struct archive_namespace *namespace = reader->namespaces; namespace; namespace = namespace->hh.next) {
        bool taken = namespace->collection != NOT_LISTED && !reader->collections[namespace->collection].not_taken;
        if (!namespace->ended && (taken || namespace->crc))
            return dump_input_damaged(reader->input, reader->input->offset, err, "it ends before '%s' does", namespace->key);
    }
    return true;
}

bool archive_reader_next(struct archive_reader *reader, size_t *collection, struct bytes *document, bool *end, struct error *err)
{
    struct dump_input *input = reader->input;
    *end = false;
    for (;;) {
        enum dump_item item;
        uint64_t at = input->offset;
        if (!dump_input_document(input, &item, document, err))
            return false;
        struct archive_namespace *current = reader->current;
        if (!current && item == DUMP_TERMINATOR)
            return dump_input_damaged(input, at, err, "a block has no header");
        if (current && item == DUMP_END)
            return dump_input_damaged(input, at, err, "it is cut off inside a block of '%s'", current->key);
        if (item == DUMP_END) {
            *end = true;
            return check_whole(reader, err);
        }
        if (!current) {
            if (!begin_block(reader, *document, at, err))
                return false;
            continue;
        }
        if (item == DUMP_TERMINATOR) {
            reader->current = NULL;
            continue;
        }
        if (current->ended)
            return dump_input_damaged(input, at, err, "'%s' goes on behind its end", current->key);
        current->crc = crc64(current->crc, *document);
        if (current->collection == NOT_LISTED)
            continue;
        *collection = (size_t)current->collection;
        return true;
    }
}
