/* What a client connects to, in gRPC's terms. One address goes to gRPC as it is. Several become one list of numeric
 * addresses, which is the only list that gRPC takes: names among them are resolved here, once, so a name whose address
 * changes later belongs into a target of its own ("dns:///name:port"). */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

enum { MAX_ADDRESS = 300 };

static bool is_port(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= 5 && strspn(text, "0123456789") == len && atoi(text) >= 1 && atoi(text) <= 65535;
}

/* gRPC would make up a port, or take what is left of one that is too large. */
static bool check_address(const char *address, struct error *err)
{
    const char *colon = strrchr(address, ':');
    if (colon && colon > address && !strchr(address, '/') && is_port(colon + 1))
        return true;
    return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is not HOST:PORT", address);
}

static bool split(const char *address, char *host, char *port, struct error *err)
{
    if (!check_address(address, err))
        return false;
    const char *colon = strrchr(address, ':');
    size_t len = (size_t)(colon - address);
    if (address[0] == '[' && address[len - 1] == ']' && len > 2) {
        address++;
        len -= 2;
    }
    memcpy(host, address, len);
    host[len] = '\0';
    strcpy(port, colon + 1);
    return true;
}

/* The first address of the family, as text. */
static bool resolve(const char *address, int family, char text[MAX_ADDRESS], struct error *err)
{
    char host[MAX_ADDRESS], port[16], number[128];
    if (!split(address, host, port, err))
        return false;
    struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found;
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure)
        return error_set(err, failure == EAI_SERVICE ? ERROR_INVALID_ARGUMENT : ERROR_UNAVAILABLE, "no address of '%s': %s", address,
                         gai_strerror(failure));
    failure = getnameinfo(found->ai_addr, found->ai_addrlen, number, sizeof number, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(found);
    if (failure)
        return error_set(err, ERROR_UNAVAILABLE, "no address of '%s': %s", address, gai_strerror(failure));
    snprintf(text, MAX_ADDRESS, family == AF_INET6 ? "[%s]:%s" : "%s:%s", number, port);
    return true;
}

static bool join(const char *addresses, int family, char **target, struct error *err)
{
    char *rest = mem_strdup(addresses), *list = rest, *made = mem_strdup(family == AF_INET6 ? "ipv6:" : "ipv4:");
    bool ok = true, first = true;
    for (char *address; ok && (address = strsep(&rest, ",")); first = false) {
        char text[MAX_ADDRESS];
        if (strlen(address) >= MAX_ADDRESS)
            ok = error_set(err, ERROR_INVALID_ARGUMENT, "an address of %zu characters is too long", strlen(address));
        else if ((ok = resolve(address, family, text, err))) {
            made = mem_realloc(made, strlen(made) + strlen(text) + 2);
            if (!first)
                strcat(made, ",");
            strcat(made, text);
        }
    }
    free(list);
    if (ok)
        *target = made;
    else
        free(made);
    return ok;
}

static bool is_for_grpc(const char *given)
{
    static const char *const schemes[] = { "dns:/", "ipv4:", "ipv6:", "unix:", "unix-abstract:" };
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strncmp(given, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

bool rpc_check_target(const char *given, struct error *err)
{
    return is_for_grpc(given) || strchr(given, ',') || check_address(given, err);
}

bool target_resolve(const char *given, char **target, struct error *err)
{
    if (!rpc_check_target(given, err))
        return false;
    if (is_for_grpc(given) || !strchr(given, ',')) {
        *target = mem_strdup(given);
        return true;
    }
    struct error ignored;
    return join(given, AF_INET, target, err) || join(given, AF_INET6, target, &ignored);
}
