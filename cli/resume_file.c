#include "cli/resume_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/user_path.h"
#include "cli/whole_file.h"

static uint64_t hash_of(const char *const *parts, size_t n)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < n; i++)
        hash = XXH3_64bits_withSeed(parts[i], strlen(parts[i]) + 1, hash);
    return hash;
}

/* One byte of one file for each: a lock that ends with the process and leaves nothing behind. */
static bool lock(struct resume_file *file, uint64_t key, const char *what, struct error *err)
{
    char *path = user_path("XDG_STATE_HOME", ".local/state", "import.lock");
    file->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int errnum = errno;
    bool ok = file->lock_fd >= 0 || error_set_errno(err, ERROR_INTERNAL, errnum, "cannot open '%s'", path);
    struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(key >> 2), .l_len = 1 };
    if (ok && fcntl(file->lock_fd, F_OFD_SETLK, &byte) != 0) {
        ok = errno == EAGAIN || errno == EACCES ? error_set(err, ERROR_FAILED_PRECONDITION, "another %s is running", what)
                                                : error_set_errno(err, ERROR_INTERNAL, errno, "cannot lock '%s'", path);
        close(file->lock_fd);
        file->lock_fd = -1;
    }
    free(path);
    return ok;
}

static bool load(const char *path, struct buffer *text, struct error *err)
{
    FILE *stream = fopen(path, "re");
    if (!stream)
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, errno, "cannot read '%s'", path);
    char piece[4096];
    size_t n;
    buffer_append(text, "", 0);
    while ((n = fread(piece, 1, sizeof piece, stream)) > 0)
        buffer_append(text, piece, n);
    bool ok = (!ferror(stream) && !text->failed && buffer_reserve(text, 1)) ||
              error_set_errno(err, ERROR_INTERNAL, errno, "cannot read '%s'", path);
    fclose(stream);
    return ok;
}

bool resume_file_open(struct resume_file *file, const char *name, const char *const *parts, size_t n_parts, const char *what,
                      struct buffer *text, struct error *err)
{
    uint64_t key = hash_of(parts, n_parts);
    char file_name[64];
    snprintf(file_name, sizeof file_name, "%s-%016" PRIx64, name, key);
    *text = (struct buffer) { 0 };
    *file = (struct resume_file) { .lock_fd = -1, .path = user_path("XDG_STATE_HOME", ".local/state", file_name) };
    if (!file->path)
        return true;
    if (user_path_make_folders(file->path, err) && lock(file, key, what, err) && load(file->path, text, err))
        return true;
    buffer_destroy(text);
    resume_file_close(file);
    return false;
}

bool resume_file_save(const struct resume_file *file, struct bytes text, struct error *err)
{
    struct whole_file whole;
    if (!file->path)
        return true;
    if (!whole_file_open(&whole, file->path, true, err))
        return false;
    fwrite(text.data, 1, text.len, whole.stream);
    return whole_file_commit(&whole, err);
}

void resume_file_remove(const struct resume_file *file)
{
    if (file->path)
        unlink(file->path);
}

void resume_file_close(struct resume_file *file)
{
    if (file->path && file->lock_fd >= 0)
        close(file->lock_fd);
    free(file->path);
    *file = (struct resume_file) { .lock_fd = -1 };
}
