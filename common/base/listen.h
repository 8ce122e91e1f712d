/* Where a service may listen, and telling others where it does. */
#ifndef ARGON_BASE_LISTEN_H
#define ARGON_BASE_LISTEN_H

#include "common/base/error.h"

/* INVALID_ARGUMENT when the address is neither HOST:PORT nor unix:PATH; FAILED_PRECONDITION when it is not loopback and insecure
 * is false. */
CHECKED bool listen_check(const char *address, bool insecure, struct error *err);

/* Writes the port to a file through a temporary one and a rename; "" = no file is wanted. */
CHECKED bool listen_write_port_file(const char *path, int port, struct error *err);

#endif
