/* Reads the wire format of google/protobuf/descriptor.proto, of which it needs names and nesting only. */
#include "common/rpc/reflection_set.h"

#include <stdlib.h>

#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

/* Field numbers of descriptor.proto. */
enum { SET_FILE = 1, NAME = 1, FILE_NAME = 1, FILE_PACKAGE = 2, FILE_DEPENDENCY = 3 };

enum kind { KIND_FILE, KIND_MESSAGE, KIND_ENUM, KIND_SERVICE, KIND_PLAIN };

static const struct {
    enum kind parent;
    uint32_t number;
    enum kind child;
} declarations[] = {
    { KIND_FILE, 4, KIND_MESSAGE },    { KIND_FILE, 5, KIND_ENUM },     { KIND_FILE, 6, KIND_SERVICE },  { KIND_FILE, 7, KIND_PLAIN },
    { KIND_MESSAGE, 3, KIND_MESSAGE }, { KIND_MESSAGE, 4, KIND_ENUM },  { KIND_MESSAGE, 2, KIND_PLAIN }, /* fields */
    { KIND_MESSAGE, 6, KIND_PLAIN },                                                                     /* extensions */
    { KIND_MESSAGE, 8, KIND_PLAIN },                                                                     /* oneofs */
    { KIND_ENUM, 2, KIND_PLAIN },      { KIND_SERVICE, 2, KIND_PLAIN },
};

struct file {
    struct bytes encoded, name, package;
    size_t *dependencies;
    size_t n_dependencies;
};

struct symbol {
    char *name;
    size_t file;
};

struct reflection_set {
    struct file *files;
    size_t n_files;
    struct symbol *symbols; /* by name, once all are there */
    size_t n_symbols, room;
};

/* ---- reading ---------------------------------------------------------------------------------------- */

static bool malformed(struct error *err)
{
    return error_set(err, ERROR_INVALID_ARGUMENT, "the schema is not a set of file descriptors");
}

/* Takes the next field; false with *more = false at the end. */
static bool next_field(struct bytes *in, uint32_t *number, struct bytes *content, bool *more, struct error *err)
{
    *more = in->len > 0;
    return !*more || codec_next_field(in, number, content) || malformed(err);
}

/* The last string field of that number, as a parser takes it; empty when there is none. */
static bool read_string(struct bytes message, uint32_t wanted, struct bytes *string, struct error *err)
{
    *string = bytes_of(NULL, 0);
    for (;;) {
        uint32_t number;
        struct bytes content;
        bool more;
        if (!next_field(&message, &number, &content, &more, err))
            return false;
        if (!more)
            return true;
        if (number != wanted)
            continue;
        if (content.len && memchr(content.data, '\0', content.len))
            return malformed(err);
        *string = content;
    }
}

static void add_symbol(struct reflection_set *set, struct bytes name, size_t file)
{
    if (set->n_symbols == set->room) {
        set->room = set->room ? 2 * set->room : 256;
        set->symbols = mem_realloc(set->symbols, set->room * sizeof *set->symbols);
    }
    set->symbols[set->n_symbols++] = (struct symbol) { mem_strndup((const char *)name.data, name.len), file };
}

/* Adds all that is declared in `message`, whose scope is the first `scope` bytes of the path. */
static bool add_declared(struct reflection_set *set, size_t file, enum kind kind, struct bytes message, struct buffer *path, size_t scope,
                         unsigned depth, struct error *err)
{
    if (depth > MAX_NESTING)
        return malformed(err);
    for (;;) {
        uint32_t number;
        struct bytes content, name;
        bool more;
        if (!next_field(&message, &number, &content, &more, err))
            return false;
        if (!more)
            return true;
        for (size_t i = 0; i < ARRAY_LEN(declarations); i++) {
            if (declarations[i].parent != kind || declarations[i].number != number)
                continue;
            if (!read_string(content, NAME, &name, err))
                return false;
            if (name.len == 0)
                return malformed(err);
            path->len = scope;
            if (scope)
                buffer_append_u8(path, '.');
            buffer_append(path, name.data, name.len);
            if (path->failed)
                return error_set(err, ERROR_RESOURCE_EXHAUSTED, "out of memory");
            add_symbol(set, buffer_bytes(path), file);
            enum kind child = declarations[i].child;
            /* values of an enum are siblings of it, not children */
            if (child != KIND_PLAIN &&
                !add_declared(set, file, child, content, path, child == KIND_ENUM ? scope : path->len, depth + 1, err))
                return false;
        }
    }
}

static bool add_file(struct reflection_set *set, struct bytes encoded, struct error *err)
{
    struct file file = { .encoded = encoded };
    if (!read_string(encoded, FILE_NAME, &file.name, err) || !read_string(encoded, FILE_PACKAGE, &file.package, err))
        return false;
    if (file.name.len == 0)
        return malformed(err);
    set->files = mem_realloc(set->files, (set->n_files + 1) * sizeof *set->files);
    set->files[set->n_files++] = file;
    struct buffer path = { 0 };
    buffer_append(&path, file.package.data, file.package.len);
    bool ok = add_declared(set, set->n_files - 1, KIND_FILE, encoded, &path, path.len, 0, err);
    buffer_destroy(&path);
    return ok;
}

static bool find_file(const struct reflection_set *set, struct bytes name, size_t *file)
{
    for (size_t i = 0; i < set->n_files; i++) {
        if (bytes_equal(set->files[i].name, name)) {
            *file = i;
            return true;
        }
    }
    return false;
}

static bool add_dependencies(struct reflection_set *set, struct file *file, struct error *err)
{
    struct bytes rest = file->encoded;
    for (;;) {
        uint32_t number;
        struct bytes content;
        bool more;
        size_t dependency;
        if (!next_field(&rest, &number, &content, &more, err))
            return false;
        if (!more)
            return true;
        if (number != FILE_DEPENDENCY)
            continue;
        if (!find_file(set, content, &dependency))
            return error_set(err, ERROR_INVALID_ARGUMENT, "the schema lacks %.*s, on which %.*s depends", (int)content.len,
                             content.data ? (const char *)content.data : "", (int)file->name.len, (const char *)file->name.data);
        file->dependencies = mem_realloc(file->dependencies, (file->n_dependencies + 1) * sizeof *file->dependencies);
        file->dependencies[file->n_dependencies++] = dependency;
    }
}

static int compare_symbols(const void *a, const void *b)
{
    return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

static bool read_set(struct reflection_set *set, struct bytes encoded, struct error *err)
{
    for (;;) {
        uint32_t number;
        struct bytes content;
        bool more;
        if (!next_field(&encoded, &number, &content, &more, err))
            return false;
        if (!more)
            break;
        if (number == SET_FILE && !add_file(set, content, err))
            return false;
    }
    for (size_t i = 0; i < set->n_files; i++) {
        if (!add_dependencies(set, &set->files[i], err))
            return false;
    }
    if (set->n_symbols)
        qsort(set->symbols, set->n_symbols, sizeof *set->symbols, compare_symbols);
    return true;
}

bool reflection_set_new(struct bytes encoded, struct reflection_set **set, struct error *err)
{
    struct reflection_set *made = mem_zalloc(sizeof *made);
    if (!read_set(made, encoded, err)) {
        reflection_set_free(made);
        return false;
    }
    *set = made;
    return true;
}

void reflection_set_free(struct reflection_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n_files; i++)
        free(set->files[i].dependencies);
    for (size_t i = 0; i < set->n_symbols; i++)
        free(set->symbols[i].name);
    free(set->files);
    free(set->symbols);
    free(set);
}

/* ---- looking up ------------------------------------------------------------------------------------- */

size_t reflection_set_count(const struct reflection_set *set)
{
    return set->n_files;
}

bool reflection_set_find_file(const struct reflection_set *set, const char *name, size_t *file)
{
    return find_file(set, bytes_of_string(name), file);
}

bool reflection_set_find_symbol(const struct reflection_set *set, const char *name, size_t *file)
{
    struct symbol key = { .name = (char *)name };
    struct symbol *found = set->n_symbols ? bsearch(&key, set->symbols, set->n_symbols, sizeof key, compare_symbols) : NULL;
    if (!found)
        return false;
    *file = found->file;
    return true;
}

size_t reflection_set_closure(const struct reflection_set *set, size_t file, struct bytes *files)
{
    size_t *order = mem_alloc(set->n_files * sizeof *order);
    bool *known = mem_zalloc(set->n_files * sizeof *known);
    size_t n = 1;
    order[0] = file;
    known[file] = true;
    for (size_t i = 0; i < n; i++) {
        const struct file *next = &set->files[order[i]];
        files[i] = next->encoded;
        for (size_t j = 0; j < next->n_dependencies; j++) {
            if (!known[next->dependencies[j]])
                order[n++] = next->dependencies[j];
            known[next->dependencies[j]] = true;
        }
    }
    free(order);
    free(known);
    return n;
}
