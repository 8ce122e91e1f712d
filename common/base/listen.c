#include "common/base/listen.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_loopback(const char *host, size_t len)
{
    static const char *const loopback[] = { "localhost", "[::1]", "::1" };
    for (size_t i = 0; i < ARRAY_LEN(loopback); i++)
        if (strlen(loopback[i]) == len && strncmp(host, loopback[i], len) == 0)
            return true;
    /* 127.0.0.0/8, digits and dots only: a name such as 127.example.org is not an address */
    return len > 4 && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") >= len;
}

bool listen_check(const char *address, bool insecure, struct error *err)
{
    if (strncmp(address, "unix:", 5) == 0) /* a socket in the file system is this machine's */
        return true;
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || colon == address || port < 0 || port > 65535 || *end)
        return error_set(err, ERROR_INVALID_ARGUMENT, "listen address '%s' is not HOST:PORT", address);
    if (!insecure && !is_loopback(address, (size_t)(colon - address)))
        return error_set(err, ERROR_FAILED_PRECONDITION,
                         "listen address '%s' is not loopback: without TLS and authentication that needs --insecure", address);
    return true;
}

bool listen_write_port_file(const char *path, int port, struct error *err)
{
    char temporary[PATH_MAX];
    if (!path[0])
        return true;
    if (snprintf(temporary, sizeof temporary, "%s.tmp", path) >= (int)sizeof temporary)
        return error_set(err, ERROR_INVALID_ARGUMENT, "port file name is too long");
    FILE *file = fopen(temporary, "w");
    if (!file)
        return error_set_errno(err, ERROR_UNAVAILABLE, errno, "port file %s", temporary);
    bool written = fprintf(file, "%d\n", port) > 0;
    if (fclose(file) != 0 || !written || rename(temporary, path) != 0) {
        error_set_errno(err, ERROR_UNAVAILABLE, errno, "port file %s", path);
        unlink(temporary);
        return false;
    }
    return true;
}
