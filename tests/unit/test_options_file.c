/* Options from a YAML file, and what a file may hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/yaml/options_file.h"
#include "common/yaml/yaml_file.h"
#include "tests/support/temp_directory.h"

static struct temp_directory directory;
static struct arena arena;
static char path[256];

static int set_up(void **state)
{
    (void)state;
    temp_directory_make(&directory);
    snprintf(path, sizeof path, "%s/options.yaml", directory.path);
    arena_init(&arena, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(&arena);
    temp_directory_remove(&directory);
    return 0;
}

static void write_file(const char *content)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, strlen(content), file), strlen(content));
    assert_int_equal(fclose(file), 0);
}

struct parsed {
    const char *config, *listen;
    uint64_t size, percent;
    bool color;
    struct config_origin origins[5];
};

enum { CONFIG, LISTEN, SIZE, PERCENT, COLOR };

/* The rows as two tables: origins count through both. */
static bool parse(struct parsed *p, char **argv, struct error *err)
{
    const struct config_option first[] = {
        OPTIONS_FILE_ROW(&p->config, "TEST_CONFIG"),
        { .name = "listen",
          .letter = 'l',
          .kind = CONFIG_STRING,
          .target = &p->listen,
          .fallback = "127.0.0.1:1",
          .variable = "TEST_LISTEN" },
        { .name = "size", .kind = CONFIG_BYTES, .target = &p->size, .fallback = "1M", .min = 1024, .variable = "TEST_SIZE" },
    };
    const struct config_option second[] = {
        { .name = "percent", .kind = CONFIG_UINT, .target = &p->percent, .fallback = "100", .max = 100, .variable = "TEST_PERCENT" },
        { .name = "color", .kind = CONFIG_BOOL, .target = &p->color, .fallback = "true", .variable = "TEST_COLOR" },
    };
    const struct config_table tables[] = { { first, ARRAY_LEN(first), false }, { second, ARRAY_LEN(second), false } };
    int argc = 0;
    while (argv[argc])
        argc++;
    return options_file_parse(tables, ARRAY_LEN(tables), argc, argv, &p->config, &arena, p->origins, err);
}

static void flags_win_over_the_environment_and_that_over_the_file(void **state)
{
    (void)state;
    struct parsed p;
    struct error err;
    char *argv[] = { "p", "--config", path, "--percent", "3", NULL };
    write_file("# what a person writes\nlisten: '127.0.0.1:2'\nsize: 2K\npercent: 1\ncolor: false\n");
    setenv("TEST_SIZE", "4K", 1);
    setenv("TEST_PERCENT", "2", 1);
    bool ok = parse(&p, argv, &err);
    unsetenv("TEST_SIZE");
    unsetenv("TEST_PERCENT");
    assert_true(ok);
    assert_string_equal(p.listen, "127.0.0.1:2");
    assert_int_equal(p.size, 4096);
    assert_int_equal(p.percent, 3);
    assert_false(p.color);
    assert_int_equal(p.origins[CONFIG].source, CONFIG_FROM_FLAG);
    assert_int_equal(p.origins[LISTEN].source, CONFIG_FROM_FILE);
    assert_int_equal(p.origins[LISTEN].line, 2);
    assert_int_equal(p.origins[SIZE].source, CONFIG_FROM_ENVIRONMENT);
    assert_int_equal(p.origins[PERCENT].source, CONFIG_FROM_FLAG);
    assert_int_equal(p.origins[COLOR].source, CONFIG_FROM_FILE);
    assert_int_equal(p.origins[COLOR].line, 5);
}

static void without_a_file_everything_is_as_before(void **state)
{
    (void)state;
    struct parsed p;
    struct error err;
    char *argv[] = { "p", "-l", "a:1", NULL };
    assert_true(parse(&p, argv, &err));
    assert_string_equal(p.listen, "a:1");
    assert_int_equal(p.origins[LISTEN].source, CONFIG_FROM_FLAG);
    assert_true(p.color);
    assert_int_equal(p.origins[COLOR].source, CONFIG_FROM_DEFAULT);
}

static void the_environment_can_name_the_file(void **state)
{
    (void)state;
    struct parsed p;
    struct error err;
    char *argv[] = { "p", NULL };
    write_file("percent: 7\n");
    setenv("TEST_CONFIG", path, 1);
    bool ok = parse(&p, argv, &err);
    unsetenv("TEST_CONFIG");
    assert_true(ok);
    assert_int_equal(p.percent, 7);
    write_file(""); /* nothing said */
    char *named[] = { "p", "--config", path, NULL };
    assert_true(parse(&p, named, &err));
    assert_int_equal(p.percent, 100);
}

/* Each file, and what the error says behind the path. */
static const struct {
    const char *content, *expected;
} wrong_files[] = {
    { "size: 2K\nlisen: x\n", ":2: there is no option 'lisen'" },
    { "\nsize: big\n", ":2: size: 'big' is not a size" },
    { "size: 1\n", ":1: size: 1 is outside 1024.." },
    { "percent: 101\n", ":1: percent: 101 is outside 0..100" },
    { "percent:\n", ":1: percent: '' is not a whole number" },
    { "color: yes\n", ":1: color: 'yes' is neither true nor false" },
    { "listen: a\nlisten: b\n", ":2: the key 'listen' is there already, in line 1" },
    { "listen:\n  host: a\n", ":2: listen: expected one value" },
    { "listen: [a, b]\n", ":1: listen: expected one value" },
    { "- listen\n", ":1: expected lines of the form" },
    { "listen\n", ":1: expected lines of the form" },
    { "config: other.yaml\n", ":1: config: a file of options names no other one" },
    { "listen: &a x\n", ":1: anchors, aliases and tags" },
    { "listen: !!str x\n", ":1: anchors, aliases and tags" },
    { "listen: *a\n", ":1: anchors, aliases and tags" },
    { "[a]: b\n", ":1: a key must be a text" },
    { "listen: a\n---\nsize: 2K\n", ":2: a second document begins" },
    { "listen: 'a\n", ":2: found unexpected end of stream" },
    { "listen: \"a\\0b\"\n", ":1: a text holds a NUL character" },
    { "listen: a\n\tsize: 2K\n", ":2: " },
    { "listen: \xff\xfe\xff\n", ":1: " },
    { "a: [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]\n", ":1: this is nested too deeply" },
};

static void a_mistake_is_named_with_file_line_and_key(void **state)
{
    (void)state;
    char *argv[] = { "p", "--config", path, NULL };
    for (size_t i = 0; i < ARRAY_LEN(wrong_files); i++) {
        struct parsed p;
        struct error err = { 0 };
        write_file(wrong_files[i].content);
        assert_false(parse(&p, argv, &err));
        char expected[512];
        snprintf(expected, sizeof expected, "%s%s", path, wrong_files[i].expected);
        if (!strstr(err.message, expected))
            fail_msg("%s: '%s', not '%s'", wrong_files[i].content, err.message, expected);
        assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    }
}

static void a_value_that_another_source_hides_is_checked_all_the_same(void **state)
{
    (void)state;
    struct parsed p;
    struct error err;
    char *argv[] = { "p", "--config", path, "--percent", "3", NULL };
    write_file("percent: many\n");
    assert_false(parse(&p, argv, &err));
    assert_non_null(strstr(err.message, ":1: percent: 'many'"));
    write_file("percent: 1\n");
    setenv("TEST_PERCENT", "many", 1);
    bool ok = parse(&p, argv, &err);
    unsetenv("TEST_PERCENT");
    assert_false(ok);
    assert_non_null(strstr(err.message, "environment variable TEST_PERCENT: 'many'"));
}

static void a_file_that_is_not_there_or_no_configuration(void **state)
{
    (void)state;
    struct parsed p;
    struct error err;
    char *missing[] = { "p", "--config", "/nowhere/options.yaml", NULL };
    assert_false(parse(&p, missing, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/options.yaml"));
    char *folder[] = { "p", "--config", directory.path, NULL };
    assert_false(parse(&p, folder, &err));
    char *zeros[] = { "p", "--config", "/dev/zero", NULL };
    assert_false(parse(&p, zeros, &err));
    assert_non_null(strstr(err.message, "this is no configuration"));
}

static void a_file_can_be_a_pipe(void **state)
{
    (void)state;
    struct yaml_value root;
    struct error err;
    FILE *pipe = popen("printf 'a:\\n  - b: c\\n    d: [e]\\n'", "r");
    char name[64];
    assert_non_null(pipe);
    snprintf(name, sizeof name, "/dev/fd/%d", fileno(pipe));
    bool ok = yaml_file_load(name, &arena, &root, &err);
    pclose(pipe);
    assert_true(ok);
    const struct yaml_value *list = yaml_value_find(&root, "a");
    assert_non_null(list);
    assert_int_equal(list->kind, YAML_VALUE_LIST);
    assert_int_equal(list->n_items, 1);
    assert_string_equal(yaml_value_find(&list->items[0], "b")->text, "c");
    assert_int_equal(yaml_value_find(&list->items[0], "d")->line, 3);
    assert_null(yaml_value_find(&list->items[0], "e"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(flags_win_over_the_environment_and_that_over_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_file_everything_is_as_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_environment_can_name_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mistake_is_named_with_file_line_and_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_value_that_another_source_hides_is_checked_all_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_not_there_or_no_configuration, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_can_be_a_pipe, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
