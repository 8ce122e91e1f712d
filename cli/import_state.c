#include "cli/import_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/user_path.h"
#include "cli/whole_file.h"
#include "common/base/memory.h"

/* The numbers of the state, a line each. */
static const struct {
    const char *name;
    size_t at;
} numbers[] = {
    { "batches", offsetof(struct import_state, batches) },
    { "lsn", offsetof(struct import_state, lsn) },
    { "read", offsetof(struct import_state, read) },
    { "inserted", offsetof(struct import_state, inserted) },
    { "replaced", offsetof(struct import_state, replaced) },
    { "skipped", offsetof(struct import_state, skipped) },
    { "failed", offsetof(struct import_state, failed) },
    { "line", offsetof(struct import_state, done) + offsetof(struct input_place, line) },
    { "offset", offsetof(struct import_state, done) + offsetof(struct input_place, offset) },
    { "digest", offsetof(struct import_state, done) + offsetof(struct input_place, digest) },
};

static const char format_line[] = "argon import 1";

static uint64_t hash_of(const char *const *parts, size_t n)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < n; i++)
        hash = XXH3_64bits_withSeed(parts[i], strlen(parts[i]) + 1, hash);
    return hash;
}

/* One byte of one file for each state: a lock that ends with the process and leaves nothing behind. */
static bool lock(struct import_state *state, uint64_t key, const char *file, struct error *err)
{
    char *path = user_path("XDG_STATE_HOME", ".local/state", "import.lock");
    state->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int errnum = errno;
    bool ok = state->lock_fd >= 0 || error_set_errno(err, ERROR_INTERNAL, errnum, "cannot open '%s'", path);
    struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(key >> 2), .l_len = 1 };
    if (ok && fcntl(state->lock_fd, F_OFD_SETLK, &byte) != 0) {
        ok = errno == EAGAIN || errno == EACCES
                 ? error_set(err, ERROR_FAILED_PRECONDITION, "another import of '%s' into this collection is running", file)
                 : error_set_errno(err, ERROR_INTERNAL, errno, "cannot lock '%s'", path);
        close(state->lock_fd);
        state->lock_fd = -1;
    }
    free(path);
    return ok;
}

static bool take_text(const char *line, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || line[len] != ' ' || strlen(line + len + 1) >= size)
        return false;
    strcpy(out, line + len + 1);
    return true;
}

static bool take_number(const char *line, struct import_state *state)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        char text[24], *end;
        if (!take_text(line, numbers[i].name, text, sizeof text))
            continue;
        uint64_t value = strtoull(text, &end, 10);
        memcpy((char *)state + numbers[i].at, &value, sizeof value);
        return *end == '\0';
    }
    return false;
}

/* The lines end with "end": a file that was cut off is not taken for a whole one. */
static bool parse(FILE *file, struct import_state *state)
{
    char *line = NULL;
    size_t size = 0;
    bool ok = true, ended = false;
    for (unsigned number = 0; ok && !ended && getline(&line, &size, file) >= 0; number++) {
        line[strcspn(line, "\n")] = '\0';
        char clean[4];
        if (number == 0)
            ok = strcmp(line, format_line) == 0;
        else if (strcmp(line, "end") == 0)
            ended = true;
        else if (take_text(line, "clean", clean, sizeof clean))
            state->clean = clean[0] == '1';
        else
            ok = take_text(line, "request_id", state->request_id, sizeof state->request_id) ||
                 take_text(line, "settings", state->settings, sizeof state->settings) ||
                 take_text(line, "collection_id", state->collection_id, sizeof state->collection_id) || take_number(line, state);
    }
    free(line);
    return ok && ended;
}

bool import_state_open(struct import_state *state, const char *file, const char *project_id, const char *branch_id, const char *collection,
                       bool *found, struct error *err)
{
    *found = false;
    *state = (struct import_state) { .lock_fd = -1, .done = { .line = 1 } };
    char *real = realpath(file, NULL);
    if (!real)
        return error_set_errno(err, ERROR_INTERNAL, errno, "cannot find '%s'", file);
    const char *const parts[] = { real, project_id, branch_id, collection };
    uint64_t key = hash_of(parts, ARRAY_LEN(parts));
    free(real);
    char name[40];
    snprintf(name, sizeof name, "import-%016" PRIx64, key);
    state->path = user_path("XDG_STATE_HOME", ".local/state", name);
    if (!state->path)
        return true;
    FILE *stream = NULL;
    bool ok = user_path_make_folders(state->path, err) && lock(state, key, file, err);
    if (ok) {
        stream = fopen(state->path, "re");
        if (!stream && errno != ENOENT)
            ok = error_set_errno(err, ERROR_INTERNAL, errno, "cannot read '%s'", state->path);
    }
    if (stream) {
        *found = true;
        if (!parse(stream, state))
            ok = error_set(err, ERROR_FAILED_PRECONDITION,
                           "the state of an interrupted import, '%s', is damaged or of another version; once it is removed, the import "
                           "begins anew",
                           state->path);
        fclose(stream);
    }
    if (!ok)
        import_state_close(state);
    return ok;
}

bool import_state_save(const struct import_state *state, struct error *err)
{
    struct whole_file file;
    if (!state->path)
        return true;
    if (!whole_file_open(&file, state->path, true, err))
        return error_wrap(err, "the state of the import");
    fprintf(file.stream, "%s\nrequest_id %s\nsettings %s\ncollection_id %s\nclean %d\n", format_line, state->request_id, state->settings,
            state->collection_id, state->clean);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint64_t value;
        memcpy(&value, (const char *)state + numbers[i].at, sizeof value);
        fprintf(file.stream, "%s %" PRIu64 "\n", numbers[i].name, value);
    }
    fputs("end\n", file.stream);
    return whole_file_commit(&file, err) || error_wrap(err, "the state of the import");
}

void import_state_remove(const struct import_state *state)
{
    if (state->path)
        unlink(state->path);
}

void import_state_close(struct import_state *state)
{
    if (state->path && state->lock_fd >= 0)
        close(state->lock_fd);
    free(state->path);
    *state = (struct import_state) { .lock_fd = -1 };
}
