#include "cli/dump/dump.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/dump/archive_reader.h"
#include "cli/dump/file_name.h"
#include "common/base/limits.h"
#include "common/base/memory.h"

enum { MAX_METADATA_BYTES = MAX_DOCUMENT_BYTES };

struct dump {
    struct arena arena;
    bool is_archive, has_oplog;
    struct dump_input input; /* of the archive */
    struct archive_reader reader;
    /* of a directory */
    struct dump_collection *collections;
    const char **files; /* of the documents, NULL: there is none */
    size_t n, capacity;
};

size_t dump_collections(const struct dump *dump, const struct dump_collection **collections)
{
    *collections = dump->is_archive ? dump->reader.collections : dump->collections;
    return dump->is_archive ? dump->reader.n_collections : dump->n;
}

bool dump_has_oplog(const struct dump *dump)
{
    return dump->has_oplog;
}

/* ---- directories ----------------------------------------------------------------------------------------- */

/* The name without this ending, or without it and ".gz". */
static bool ends_with(const char *name, const char *ending, size_t *stem)
{
    size_t len = strlen(name), ending_len = strlen(ending);
    if (len > 3 && strcmp(name + len - 3, ".gz") == 0)
        len -= 3;
    if (len <= ending_len || strncmp(name + len - ending_len, ending, ending_len) != 0)
        return false;
    *stem = len - ending_len;
    return true;
}

static char *join(struct dump *dump, const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = arena_alloc(&dump->arena, size);
    if (path)
        snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static size_t find_stem(const struct dump *dump, size_t first, const char *const *stems, const char *stem, size_t len)
{
    for (size_t i = first; i < dump->n; i++)
        if (strlen(stems[i]) == len && strncmp(stems[i], stem, len) == 0)
            return i;
    return dump->n;
}

static bool read_metadata(const char *path, bool replace_name, struct dump *dump, struct dump_collection *collection, struct error *err)
{
    struct dump_input input = { 0 };
    struct bytes text;
    struct error wrong;
    bool ok = dump_input_open(&input, path, err) && dump_input_rest(&input, MAX_METADATA_BYTES, &text, err);
    if (ok && !metadata_parse(text, replace_name, &dump->arena, collection, &wrong))
        ok = error_set(err, wrong.code, "'%s': %s", path, wrong.message);
    dump_input_close(&input);
    return ok;
}

/* One collection a stem; what is no file of a collection is passed over. */
static bool add_file(struct dump *dump, const char *database, const char *folder, const char *name, size_t first, const char ***stems,
                     struct error *err)
{
    size_t len;
    bool is_metadata = ends_with(name, ".metadata.json", &len), is_cut;
    if (!is_metadata && !ends_with(name, ".bson", &len))
        return true;
    size_t at = find_stem(dump, first, *stems, name, len);
    if (at == dump->n) {
        if (dump->n == dump->capacity) {
            dump->capacity = dump->capacity ? 2 * dump->capacity : 64;
            dump->collections = mem_realloc(dump->collections, dump->capacity * sizeof *dump->collections);
            dump->files = mem_realloc(dump->files, dump->capacity * sizeof *dump->files);
            *stems = mem_realloc(*stems, dump->capacity * sizeof **stems);
        }
        dump->collections[at] = (struct dump_collection) { .database = arena_strdup(&dump->arena, database), .options = "" };
        dump->collections[at].name = file_name_to_collection(name, len, &dump->arena, &is_cut);
        dump->files[at] = NULL;
        (*stems)[at] = arena_strndup(&dump->arena, name, len);
        if (!dump->collections[at].database || !dump->collections[at].name || !(*stems)[at])
            return error_out_of_memory(err);
        metadata_judge_name(&dump->collections[at]);
        dump->n++;
    }
    char *path = join(dump, folder, name);
    if (!path)
        return error_out_of_memory(err);
    if (!is_metadata) {
        if (dump->files[at])
            return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' and '%s' are both there", dump->files[at], path);
        dump->files[at] = path;
        return true;
    }
    return file_name_to_collection(name, len, &dump->arena, &is_cut) ? read_metadata(path, is_cut, dump, &dump->collections[at], err)
                                                                     : error_out_of_memory(err);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool list(const char *path, struct dirent ***entries, int *n, struct error *err)
{
    *n = scandir(path, entries, is_visible, alphasort);
    return *n >= 0 || error_set_errno(err, error_code_of_file(errno), errno, "cannot read '%s'", path);
}

static void forget(struct dirent **entries, int n)
{
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
}

static bool read_database(struct dump *dump, const char *folder, const char *database, struct error *err)
{
    struct dirent **entries;
    const char **stems = mem_alloc((dump->capacity + 1) * sizeof *stems);
    size_t first = dump->n; /* the same stem in another database is another collection */
    int n;
    bool ok = list(folder, &entries, &n, err);
    for (int i = 0; ok && i < n; i++)
        ok = add_file(dump, database, folder, entries[i]->d_name, first, &stems, err);
    if (n >= 0)
        forget(entries, n);
    free(stems);
    return ok;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Folders are databases; files of collections beside them make the directory itself one. */
static bool read_directory(struct dump *dump, const char *path, struct error *err)
{
    struct dirent **entries;
    int n;
    bool itself = false;
    size_t stem;
    if (!list(path, &entries, &n, err))
        return false;
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        const char *name = entries[i]->d_name;
        char *inner = join(dump, path, name);
        if (!inner)
            ok = error_out_of_memory(err);
        else if (is_folder(inner))
            ok = read_database(dump, inner, name, err);
        else if (ends_with(name, ".bson", &stem) && stem == 5 && strncmp(name, "oplog", 5) == 0)
            dump->has_oplog = true;
        else
            itself = itself || ends_with(name, ".bson", &stem) || ends_with(name, ".metadata.json", &stem);
    }
    forget(entries, n);
    if (!ok || !itself)
        return ok;
    char *real = realpath(path, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    ok = read_database(dump, path, slash && slash[1] ? slash + 1 : "dump", err);
    free(real);
    return ok;
}

static bool visit_file(struct dump *dump, size_t collection, dump_visit_fn *visit, void *ctx, struct error *err)
{
    struct dump_input input = { 0 };
    if (!dump->files[collection])
        return true; /* only its metadata are there, as of a view */
    bool ok = dump_input_open(&input, dump->files[collection], err), end = false;
    while (ok && !end) {
        enum dump_item item;
        struct bytes document;
        uint64_t at = input.offset;
        ok = dump_input_document(&input, &item, &document, err);
        if (ok && item == DUMP_TERMINATOR)
            ok = dump_input_damaged(&input, at, err, "%u is no length of a document", UINT32_MAX);
        end = ok && item == DUMP_END;
        ok = ok && (end || visit(ctx, collection, document, err));
    }
    dump_input_close(&input);
    return ok;
}

/* ---- both -------------------------------------------------------------------------------------------------- */

bool dump_open(const char *path, struct dump **opened, struct error *err)
{
    struct dump *dump = mem_zalloc(sizeof *dump);
    arena_init(&dump->arena, 0);
    dump->is_archive = !is_folder(path);
    bool ok = dump->is_archive ? dump_input_open(&dump->input, path, err) && archive_reader_open(&dump->reader, &dump->input, err)
                               : read_directory(dump, path, err);
    const struct dump_collection *collections;
    for (size_t i = 0; ok && i < dump->reader.n_collections; i++)
        if (!dump->reader.collections[i].database[0]) { /* outside of all databases */
            dump->reader.collections[i].not_taken = "the oplog";
            dump->has_oplog = true;
        }
    if (ok && dump_collections(dump, &collections) == 0)
        ok = error_set(err, ERROR_INVALID_ARGUMENT, "'%s' holds no collection", path);
    if (!ok) {
        dump_close(dump);
        return false;
    }
    *opened = dump;
    return true;
}

void dump_close(struct dump *dump)
{
    if (!dump)
        return;
    if (dump->reader.input)
        archive_reader_close(&dump->reader);
    dump_input_close(&dump->input);
    free(dump->collections);
    free(dump->files);
    arena_destroy(&dump->arena);
    free(dump);
}

bool dump_read(struct dump *dump, const bool *wanted, dump_visit_fn *visit, void *ctx, struct error *err)
{
    for (size_t i = 0; !dump->is_archive && i < dump->n; i++)
        if (wanted[i] && !visit_file(dump, i, visit, ctx, err))
            return false;
    while (dump->is_archive) {
        size_t collection;
        struct bytes document;
        bool end;
        if (!archive_reader_next(&dump->reader, &collection, &document, &end, err))
            return false;
        if (end)
            break;
        if (wanted[collection] && !visit(ctx, collection, document, err))
            return false;
    }
    return true;
}
