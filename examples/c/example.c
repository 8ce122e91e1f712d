/* Argon from C: a project, a branch that diverges, and what happened on it.
 *
 *     cc -std=c11 example.c -largon && ./a.out [HOST:PORT]
 */
#include <argon/argon.h>
#include <stdio.h>
#include <stdlib.h>

static void check(bool ok, const struct argon_error *error)
{
    if (ok)
        return;
    fprintf(stderr, "argon says %d: %s\n", (int)error->code, error->message);
    exit(EXIT_FAILURE);
}

static void show(struct argon_client *argon, const char *branch)
{
    const struct argon_target items = { "example-c", branch, "items" };
    const struct argon_query all = { .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_error error;
    struct argon_document document;
    struct argon_cursor *cursor = argon_find(argon, &items, &all, &error);
    check(cursor, &error);
    printf("items on %s:\n", branch);
    while (argon_cursor_next(cursor, &document, &error))
        printf("  %.*s\n", (int)document.len, (const char *)document.data);
    check(error.code == ARGON_OK, &error);
    argon_cursor_close(cursor);
}

int main(int argc, char **argv)
{
    struct argon_error error;
    struct argon_client *argon = argon_open(&(struct argon_options) { .endpoint = argc > 1 ? argv[1] : NULL, .actor = "example" }, &error);
    check(argon, &error);

    check(argon_delete_project(argon, "example-c", &error) || error.code == ARGON_NOT_FOUND, &error);
    check(argon_create_project(argon, "example-c", &error), &error);

    const struct argon_target on_main = { "example-c", "main", "items" }, on_sale = { "example-c", "sale", "items" };
    const struct argon_document items[] = { ARGON_JSON("{\"_id\": \"tea\", \"price\": 3}"),
                                            ARGON_JSON("{\"_id\": \"cup\", \"price\": 5}") };
    check(argon_insert(argon, &on_main, items, 2, ARGON_FAIL, NULL, &error), &error);

    /* a branch costs one small record, however much there is */
    struct argon_branch branch;
    check(argon_create_branch(argon, "example-c", "sale", NULL, &branch, &error), &error);

    const struct argon_document all = ARGON_JSON("{}"), cheaper = ARGON_JSON("{\"$inc\": {\"price\": -1}}");
    struct argon_written written;
    check(argon_update(argon, &on_sale, &all, &cheaper, true, &written, &error), &error);
    printf("%llu items are cheaper on sale\n", (unsigned long long)written.modified);
    show(argon, "main");
    show(argon, "sale");

    /* what has changed on the branch since it was made */
    const struct argon_watch_options since = { .after_lsn = branch.base_lsn, .stop_at_head = true, .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_watch *watch = argon_watch(argon, &on_sale, &since, &error);
    check(watch, &error);
    struct argon_change change;
    printf("changes on sale:\n");
    while (argon_watch_next(watch, &change, &error))
        printf("  LSN %llu by %s: %.*s\n", (unsigned long long)change.lsn, change.actor, (int)change.document.len,
               (const char *)change.document.data);
    check(error.code == ARGON_OK, &error);
    argon_watch_close(watch);
    argon_close(argon);
    return EXIT_SUCCESS;
}
