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
#include "common/base/memory.h"

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
    bool ok = file->lock_fd >= 0 || error_set_errno(err, error_code_of_file(errnum), errnum, "cannot open '%s'", path);
    struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(key >> 2), .l_len = 1 };
    if (ok && fcntl(file->lock_fd, F_OFD_SETLK, &byte) != 0) {
        ok = errno == EAGAIN || errno == EACCES ? error_set(err, ERROR_FAILED_PRECONDITION, "another %s is running", what)
                                                : error_set_errno(err, error_code_of_file(errno), errno, "cannot lock '%s'", path);
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
        return errno == ENOENT || error_set_errno(err, error_code_of_file(errno), errno, "cannot read '%s'", path);
    char piece[4096];
    size_t n;
    buffer_append(text, "", 0);
    while ((n = fread(piece, 1, sizeof piece, stream)) > 0)
        buffer_append(text, piece, n);
    bool ok = (!ferror(stream) && !text->failed && buffer_reserve(text, 1)) ||
              error_set_errno(err, error_code_of_file(errno), errno, "cannot read '%s'", path);
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

static bool write_new(const char *path, struct bytes text, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0;
    for (size_t n = 0; ok && n < text.len;) {
        ssize_t step = write(fd, text.data + n, text.len - n);
        ok = step > 0 || (step < 0 && errno == EINTR);
        n += step > 0 ? (size_t)step : 0;
    }
    ok = ok && fsync(fd) == 0;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    return ok || error_set_errno(err, error_code_of_file(errnum), errnum, "cannot write '%s'", path);
}

static bool sync_folder(const char *path, struct error *err)
{
    char *folder = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = (fd >= 0 && fsync(fd) == 0) || error_set_errno(err, error_code_of_file(errno), errno, "cannot write '%s'", folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return ok;
}

static char *new_path(const struct resume_file *file)
{
    size_t size = strlen(file->path) + sizeof ".new";
    char *path = mem_alloc(size);
    snprintf(path, size, "%s.new", file->path);
    return path;
}

/* Under one name while it is written, since the lock is held: a process that is killed leaves one file more at most. */
bool resume_file_save(const struct resume_file *file, struct bytes text, struct error *err)
{
    if (!file->path)
        return true;
    char *path = new_path(file);
    bool ok = write_new(path, text, err) &&
              (rename(path, file->path) == 0 || error_set_errno(err, error_code_of_file(errno), errno, "cannot write '%s'", file->path)) &&
              sync_folder(file->path, err);
    free(path);
    return ok;
}

void resume_file_remove(const struct resume_file *file)
{
    if (!file->path)
        return;
    char *path = new_path(file);
    unlink(path); /* of one that was killed */
    unlink(file->path);
    free(path);
}

void resume_file_close(struct resume_file *file)
{
    if (file->path && file->lock_fd >= 0)
        close(file->lock_fd);
    free(file->path);
    *file = (struct resume_file) { .lock_fd = -1 };
}
