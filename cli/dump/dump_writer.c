#include "cli/dump/dump_writer.h"

#include <bson/bson.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/dump/archive_format.h"
#include "cli/dump/crc64.h"
#include "cli/dump/file_name.h"
#include "cli/whole_file.h"
#include "common/base/memory.h"

enum { GZIP_BUFFER = 256 * 1024 };

struct dump_writer {
    struct dump_writer_options options;
    const struct dump_collection *collections; /* borrowed until commit */
    struct arena arena;
    size_t current;
    uint64_t crc;
    gzFile out; /* the archive, or the file at hand */
    int fd;     /* of the file at hand */
    char path[PATH_MAX];
    struct whole_file archive;
    bool to_stdout;
    char folder[PATH_MAX]; /* under its temporary name; "": none */
    size_t n_collections;
};

static bool cannot_write(const char *path, int errnum, struct error *err)
{
    return error_set_errno(err, error_code_of_file(errnum), errnum, "cannot write '%s'", path);
}

static bool open_gzip(struct dump_writer *writer, int fd, struct error *err)
{
    /* T: as it is, without the header of gzip */
    writer->out = fd >= 0 ? gzdopen(fd, writer->options.gzip ? "wb6" : "wbT") : NULL;
    if (!writer->out)
        return cannot_write(writer->path, errno, err);
    gzbuffer(writer->out, GZIP_BUFFER);
    return true;
}

static bool put(struct dump_writer *writer, struct bytes bytes, struct error *err)
{
    while (bytes.len > 0) {
        unsigned step = bytes.len < INT_MAX ? (unsigned)bytes.len : INT_MAX;
        if (gzwrite(writer->out, bytes.data, step) != (int)step)
            return cannot_write(writer->path, errno, err);
        bytes = bytes_of(bytes.data + step, bytes.len - step);
    }
    return true;
}

static bool close_gzip(struct dump_writer *writer, struct error *err)
{
    gzFile out = writer->out;
    writer->out = NULL;
    return gzclose_w(out) == Z_OK || cannot_write(writer->path, errno, err);
}

/* ---- archive ------------------------------------------------------------------------------------------------ */

static bool put_terminator(struct dump_writer *writer, struct error *err)
{
    uint8_t terminator[4];
    put_u32(terminator, ARCHIVE_TERMINATOR);
    return put(writer, bytes_of(terminator, sizeof terminator), err);
}

static bool put_document(struct dump_writer *writer, bson_t *document, struct error *err)
{
    bool ok = put(writer, bytes_of(bson_get_data(document), document->len), err);
    bson_destroy(document);
    return ok;
}

static bool put_prelude(struct dump_writer *writer, struct error *err)
{
    uint8_t magic[4];
    put_u32(magic, ARCHIVE_MAGIC);
    bson_t header = BSON_INITIALIZER;
    BSON_APPEND_INT32(&header, "concurrent_collections", 1);
    BSON_APPEND_UTF8(&header, "version", ARCHIVE_VERSION);
    BSON_APPEND_UTF8(&header, "server_version", "7.0.0"); /* mongorestore wants a version of MongoDB */
    BSON_APPEND_UTF8(&header, "tool_version", "argon " ARGON_VERSION);
    if (!put(writer, bytes_of(magic, sizeof magic), err)) {
        bson_destroy(&header);
        return false;
    }
    if (!put_document(writer, &header, err))
        return false;
    for (size_t i = 0; i < writer->n_collections; i++) {
        const struct dump_collection *collection = &writer->collections[i];
        struct buffer text = { 0 };
        bson_t document = BSON_INITIALIZER;
        bool ok = metadata_format(collection->name, collection->indexes, collection->n_indexes, &text, err);
        BSON_APPEND_UTF8(&document, "db", writer->options.database);
        BSON_APPEND_UTF8(&document, "collection", collection->name);
        bson_append_utf8(&document, "metadata", -1, ok ? (const char *)text.data : "", (int)text.len);
        BSON_APPEND_INT32(&document, "size", 0);
        BSON_APPEND_UTF8(&document, "type", "collection");
        buffer_destroy(&text);
        if (!put_document(writer, &document, err) || !ok)
            return false;
    }
    return put_terminator(writer, err);
}

static bool put_block_header(struct dump_writer *writer, bool end, struct error *err)
{
    bson_t header = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&header, "db", writer->options.database);
    BSON_APPEND_UTF8(&header, "collection", writer->collections[writer->current].name);
    BSON_APPEND_BOOL(&header, "EOF", end);
    BSON_APPEND_INT64(&header, "CRC", end ? (int64_t)writer->crc : 0);
    return put_document(writer, &header, err);
}

static bool open_archive(struct dump_writer *writer, struct error *err)
{
    const char *path = writer->options.path;
    writer->to_stdout = strcmp(path, "-") == 0;
    snprintf(writer->path, sizeof writer->path, "%s", writer->to_stdout ? "standard output" : path);
    if (!writer->to_stdout && !whole_file_open(&writer->archive, path, false, err))
        return false;
    return open_gzip(writer, dup(writer->to_stdout ? STDOUT_FILENO : fileno(writer->archive.stream)), err) && put_prelude(writer, err);
}

/* ---- directory ---------------------------------------------------------------------------------------------- */

static bool make_folder(struct dump_writer *writer, struct error *err)
{
    const char *database = writer->options.database, *directory = writer->options.path;
    if (!database[0] || strchr(database, '/') || strcmp(database, ".") == 0 || strcmp(database, "..") == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is no name of a database", database);
    if (strlen(directory) + strlen(database) + MAX_FILE_STEM + 40 > PATH_MAX)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the path '%.80s...' is too long", directory);
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        return error_set_errno(err, error_code_of_file(errno), errno, "cannot make '%s'", directory);
    snprintf(writer->folder, sizeof writer->folder, "%s/.%s.XXXXXX", directory, database);
    if (!mkdtemp(writer->folder)) {
        int errnum = errno;
        writer->folder[0] = '\0';
        return cannot_write(directory, errnum, err);
    }
    mode_t mask = umask(0);
    umask(mask);
    return chmod(writer->folder, 0777 & ~mask) == 0 || cannot_write(writer->folder, errno, err);
}

static bool open_file(struct dump_writer *writer, const char *kind, struct error *err)
{
    char *stem = file_name_of_collection(writer->collections[writer->current].name, &writer->arena);
    if (!stem)
        return error_out_of_memory(err);
    int len = snprintf(writer->path, sizeof writer->path, "%s/%s.%s%s", writer->folder, stem, kind, writer->options.gzip ? ".gz" : "");
    if (len < 0 || (size_t)len >= sizeof writer->path)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the path '%.80s...' is too long", writer->path);
    writer->fd = open(writer->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return (writer->fd >= 0 || cannot_write(writer->path, errno, err)) && open_gzip(writer, dup(writer->fd), err);
}

static bool close_file(struct dump_writer *writer, struct error *err)
{
    bool ok = close_gzip(writer, err);
    if (ok && fsync(writer->fd) != 0)
        ok = cannot_write(writer->path, errno, err);
    close(writer->fd);
    writer->fd = -1;
    return ok;
}

static bool write_metadata(struct dump_writer *writer, struct error *err)
{
    const struct dump_collection *collection = &writer->collections[writer->current];
    struct buffer text = { 0 };
    bool ok = metadata_format(collection->name, collection->indexes, collection->n_indexes, &text, err) &&
              open_file(writer, "metadata.json", err) && put(writer, buffer_bytes(&text), err) && close_file(writer, err);
    buffer_destroy(&text);
    return ok;
}

static bool sync_folder(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    return ok || cannot_write(path, errnum, err);
}

static bool commit_folder(struct dump_writer *writer, struct error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", writer->options.path, writer->options.database);
    if (!sync_folder(writer->folder, err))
        return false;
    if (rename(writer->folder, path) != 0) {
        if (errno == ENOTEMPTY || errno == EEXIST)
            return error_set(err, ERROR_ALREADY_EXISTS, "'%s' is there already, and holds something", path);
        return cannot_write(path, errno, err);
    }
    writer->folder[0] = '\0';
    return sync_folder(writer->options.path, err);
}

static void remove_folder(struct dump_writer *writer)
{
    static const char *const kinds[] = { "bson", "metadata.json" };
    for (size_t i = 0; i < writer->n_collections; i++)
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            char *stem = file_name_of_collection(writer->collections[i].name, &writer->arena);
            if (stem && snprintf(writer->path, sizeof writer->path, "%s/%s.%s%s", writer->folder, stem, kinds[k],
                                 writer->options.gzip ? ".gz" : "") < PATH_MAX)
                unlink(writer->path);
        }
    rmdir(writer->folder);
}

/* ---- both --------------------------------------------------------------------------------------------------- */

bool dump_writer_open(const struct dump_writer_options *options, const struct dump_collection *collections, size_t n,
                      struct dump_writer **opened, struct error *err)
{
    struct dump_writer *writer = mem_zalloc(sizeof *writer);
    writer->options = *options;
    writer->collections = collections;
    writer->n_collections = n;
    writer->fd = -1;
    arena_init(&writer->arena, 0);
    if (!(options->archive ? open_archive(writer, err) : make_folder(writer, err))) {
        dump_writer_abandon(writer);
        return false;
    }
    *opened = writer;
    return true;
}

bool dump_writer_begin(struct dump_writer *writer, size_t collection, struct error *err)
{
    writer->current = collection;
    writer->crc = 0;
    if (writer->options.archive)
        return put_block_header(writer, false, err);
    return write_metadata(writer, err) && open_file(writer, "bson", err);
}

bool dump_writer_document(struct dump_writer *writer, struct bytes document, struct error *err)
{
    if (writer->options.archive)
        writer->crc = crc64(writer->crc, document);
    return put(writer, document, err);
}

bool dump_writer_end(struct dump_writer *writer, struct error *err)
{
    if (!writer->options.archive)
        return close_file(writer, err);
    return put_terminator(writer, err) && put_block_header(writer, true, err) && put_terminator(writer, err);
}

bool dump_writer_commit(struct dump_writer *writer, struct error *err)
{
    bool ok = true;
    if (writer->options.archive) {
        ok = close_gzip(writer, err);
        if (ok && !writer->to_stdout)
            ok = whole_file_commit(&writer->archive, err);
    } else {
        ok = commit_folder(writer, err);
    }
    dump_writer_abandon(writer);
    return ok;
}

void dump_writer_unlink(struct dump_writer *writer)
{
    if (!writer)
        return;
    whole_file_unlink(&writer->archive);
    if (writer->folder[0])
        remove_folder(writer);
}

void dump_writer_abandon(struct dump_writer *writer)
{
    if (!writer)
        return;
    if (writer->out)
        gzclose_w(writer->out);
    if (writer->fd >= 0)
        close(writer->fd);
    if (writer->archive.stream || writer->archive.temporary)
        whole_file_abandon(&writer->archive);
    if (writer->folder[0])
        remove_folder(writer);
    arena_destroy(&writer->arena);
    free(writer);
}
