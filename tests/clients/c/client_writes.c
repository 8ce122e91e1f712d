/* Writes to a branch of any kind: the caller says nothing of request ids.
 *
 *     client_writes PROJECT BRANCH         the service's address is in ARGON_ENDPOINT
 */
#include <argon/argon.h>
#include <stdio.h>
#include <stdlib.h>

static void check(bool ok, const char *what, const struct argon_error *error)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %d, %s\n", what, (int)error->code, error->message);
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return EXIT_FAILURE;
    const struct argon_target items = { argv[1], argv[2], "items" };
    const struct argon_document documents[] = { ARGON_JSON("{\"_id\":1,\"n\":1}"), ARGON_JSON("{\"_id\":2,\"n\":1}") };
    const struct argon_document one = ARGON_JSON("{\"_id\":1}"), more = ARGON_JSON("{\"$inc\":{\"n\":1}}");
    struct argon_error error;
    struct argon_written written;
    struct argon_client *argon = argon_open(&(struct argon_options) { .endpoint = getenv("ARGON_ENDPOINT") }, &error);
    check(argon, "open", &error);
    check(argon_insert(argon, &items, documents, 2, ARGON_FAIL, &written, &error) && written.inserted == 2, "insert", &error);
    check(argon_update(argon, &items, &one, &more, false, &written, &error) && written.modified == 1, "update", &error);
    check(argon_delete(argon, &items, &documents[1], false, &written, &error) && written.deleted == 1, "delete", &error);
    check(!argon_insert(argon, &items, documents, 1, ARGON_FAIL, &written, &error) && error.code == ARGON_ALREADY_EXISTS, "again", &error);
    argon_close(argon);
    return EXIT_SUCCESS;
}
