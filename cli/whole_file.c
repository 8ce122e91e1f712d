#include "cli/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/memory.h"

static mode_t default_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

bool whole_file_open(struct whole_file *file, const char *path, bool is_private, struct error *err)
{
    struct whole_file opened = { 0 };
    struct stat status;
    mode_t mode = 0;
    int fd = -1;
    bool exists = stat(path, &status) == 0;
    /* what stands behind /dev/stdout or /dev/fd/63, a pipe, has no path of its own */
    opened.path = exists && S_ISREG(status.st_mode) ? realpath(path, NULL) : mem_strdup(path);
    if (!opened.path) {
        error_set_errno(err, error_code_of_file(errno), errno, "cannot open '%s'", path);
        goto failed;
    }
    if (exists && !S_ISREG(status.st_mode)) {
        fd = open(opened.path, O_WRONLY | O_CLOEXEC);
    } else {
        mode = is_private ? 0600 : exists ? status.st_mode & 07777 : default_mode();
        size_t size = strlen(opened.path) + sizeof ".XXXXXX";
        opened.temporary = mem_alloc(size);
        snprintf(opened.temporary, size, "%s.XXXXXX", opened.path);
        fd = mkostemp(opened.temporary, O_CLOEXEC);
    }
    if (fd < 0 || (opened.temporary && fchmod(fd, mode) != 0)) {
        error_set_errno(err, error_code_of_file(errno), errno, "cannot write '%s'", path);
        goto failed;
    }
    opened.stream = fdopen(fd, "w");
    if (!opened.stream) {
        error_set_errno(err, error_code_of_file(errno), errno, "cannot write '%s'", path);
        goto failed;
    }
    *file = opened;
    return true;

failed:
    if (fd >= 0) {
        close(fd);
        if (opened.temporary)
            unlink(opened.temporary);
    }
    free(opened.temporary);
    free(opened.path);
    return false;
}

/* A rename is on disk when its directory is. */
static bool sync_directory(const char *path)
{
    char *copy = mem_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(copy);
    return ok;
}

bool whole_file_commit(struct whole_file *file, struct error *err)
{
    bool ok = fflush(file->stream) == 0;
    ok = ok && (!file->temporary || fsync(fileno(file->stream)) == 0);
    int errnum = errno;
    if (fclose(file->stream) != 0 && ok) {
        errnum = errno;
        ok = false;
    }
    file->stream = NULL;
    if (ok && file->temporary) {
        ok = rename(file->temporary, file->path) == 0;
        errnum = errno;
        if (ok) {
            ok = sync_directory(file->path);
            errnum = errno;
            free(file->temporary);
            file->temporary = NULL;
        }
    }
    if (!ok)
        error_set_errno(err, error_code_of_file(errnum), errnum, "cannot write '%s'", file->path);
    whole_file_abandon(file);
    return ok;
}

void whole_file_unlink(const struct whole_file *file)
{
    if (file->temporary)
        unlink(file->temporary);
}

void whole_file_abandon(struct whole_file *file)
{
    if (file->stream)
        fclose(file->stream);
    whole_file_unlink(file);
    free(file->temporary);
    free(file->path);
    *file = (struct whole_file) { 0 };
}
