#include "cli/completion.h"

#include <string.h>

#include "cli/command.h"
#include "cli/program.h"

/* ---- tables as functions of the shell -------------------------------------------------------------------- */

/* Both shells read this: a function of each table, that prints words. */

static void print_words_of_commands(FILE *out)
{
    fputs("# the words behind 'argon $1'\n_argon_commands() {\n  case \"$1\" in\n  '') echo '", out);
    for (size_t i = 0; i < program_n_groups; i++)
        if (program_groups[i]->kind != GROUP_HIDDEN)
            fprintf(out, "%s%s", i ? " " : "", program_groups[i]->name);
    fputs("' ;;\n", out);
    for (size_t i = 0; i < program_n_groups; i++) {
        const struct command_group *group = program_groups[i];
        if (!group->commands[group->n_commands - 1].name)
            continue;
        fprintf(out, "  %s) echo '", group->name);
        for (size_t c = 0; c < group->n_commands; c++)
            if (group->commands[c].name)
                fprintf(out, "%s%s", c && group->commands[c - 1].name ? " " : "", group->commands[c].name);
        fputs("' ;;\n", out);
    }
    fputs("  esac\n}\n\n", out);
}

static void print_option_words(FILE *out, const struct config_option *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].letter)
            fprintf(out, " -%c", rows[i].letter);
        fprintf(out, " --%s", rows[i].name);
        if (rows[i].kind == CONFIG_BOOL && rows[i].fallback && strcmp(rows[i].fallback, "true") == 0)
            fprintf(out, " --no-%s", rows[i].name);
    }
}

typedef void visit_command_fn(FILE *out, const struct command_group *group, const struct command *command);

static void for_each_command(FILE *out, visit_command_fn *visit)
{
    for (size_t i = 0; i < program_n_groups; i++)
        for (size_t c = 0; program_groups[i]->kind != GROUP_HIDDEN && c < program_groups[i]->n_commands; c++)
            visit(out, program_groups[i], &program_groups[i]->commands[c]);
}

/* "branches create", or "import" */
static void print_case(FILE *out, const struct command_group *group, const struct command *command)
{
    fprintf(out, "  '%s%s%s') echo '", group->name, command->name ? " " : "", command->name ? command->name : "");
}

static void print_options_of(FILE *out, const struct command_group *group, const struct command *command)
{
    if (!command->n_options && !command->shared)
        return;
    print_case(out, group, command);
    print_option_words(out, command->options, command->n_options);
    if (command->shared)
        print_option_words(out, command->shared->options, command->shared->n);
    fputs("' ;;\n", out);
}

static void print_value_kinds(FILE *out, const char *command, const struct config_option *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].kind == CONFIG_BOOL)
            continue;
        fprintf(out, "  '%s --%s'", command, rows[i].name);
        if (rows[i].letter)
            fprintf(out, " | '%s -%c'", command, rows[i].letter);
        fprintf(out, ") echo '%s' ;;\n", rows[i].argument ? rows[i].argument : "VALUE");
    }
}

static void print_values_of(FILE *out, const struct command_group *group, const struct command *command)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s%s", group->name, command->name ? " " : "", command->name ? command->name : "");
    print_value_kinds(out, name, command->options, command->n_options);
    if (command->shared)
        print_value_kinds(out, name, command->shared->options, command->shared->n);
}

/* The words of the usage before its options: "COLLECTION [FILTER]". */
static void print_positionals_of(FILE *out, const struct command_group *group, const struct command *command)
{
    if (command->max_args == 0)
        return;
    print_case(out, group, command);
    bool first = true;
    for (const char *word = command->usage; *word;) {
        size_t len = strcspn(word, " ");
        if (word[0] == '-' || (word[0] == '[' && word[1] == '-' && len > 2))
            break;
        fprintf(out, "%s%.*s", first ? "" : " ", (int)len, word);
        first = false;
        word += len + strspn(word + len, " ");
    }
    fputs("' ;;\n", out);
}

static void print_table(FILE *out, const char *what, const char *name, const char *subject, visit_command_fn *visit,
                        void (*print_default)(FILE *out))
{
    fprintf(out, "# %s\n_argon_%s() {\n  case \"%s\" in\n", what, name, subject);
    for_each_command(out, visit);
    if (print_default)
        print_default(out);
    fputs("  esac\n}\n\n", out);
}

static void print_default_values(FILE *out)
{
    for (size_t i = 0; i < program_options_table.n; i++) {
        const struct config_option *option = &program_options_table.options[i];
        if (option->kind == CONFIG_BOOL)
            continue;
        fprintf(out, "  *' --%s'", option->name);
        if (option->letter)
            fprintf(out, " | *' -%c'", option->letter);
        fprintf(out, ") echo '%s' ;;\n", option->argument ? option->argument : "VALUE");
    }
}

static void print_tables(FILE *out)
{
    print_words_of_commands(out);
    print_table(out, "the options of the command $1", "options", "$1", print_options_of, NULL);
    print_table(out, "what stands behind the option $2 of the command $1; nothing when it takes no value", "value", "$1 $2",
                print_values_of, print_default_values);
    print_table(out, "the arguments of the command $1", "arguments", "$1", print_positionals_of, NULL);
    fputs("_argon_common='", out);
    print_option_words(out, program_options_table.options, program_options_table.n);
    fputs(" --help'\n\n", out);
}

/* ---- the engine, the same for both ------------------------------------------------------------------------- */

/* Goes through the words before the cursor as the program would, and leaves in _argon_found either candidates, one a
 * line, or "FILE". What it asks the service for is about what the options in the line say. Arguments: the words
 * behind "argon", the one at the cursor last. */
static const char engine[] =
    "_argon_complete() {\n"
    "  local command='' expects='' kind='' word='' number=0\n"
    "  local -a about\n"
    "  _argon_found=''\n"
    "  while [ $# -gt 1 ]; do\n"
    "    word=$1; shift\n"
    "    case \"$word\" in\n"
    "    --?*=*) case \"$word\" in --project=* | --branch=* | --endpoint=*) about+=(\"$word\") ;; esac ;;\n"
    "    -?*)\n"
    "      kind=$(_argon_value \"$command\" \"$word\")\n"
    "      if [ -n \"$kind\" ]; then\n"
    "        if [ $# -eq 1 ]; then expects=$kind; break; fi\n"
    "        case \"$word\" in -p | --project | -b | --branch | --endpoint) about+=(\"$word\" \"$1\") ;; esac\n"
    "        shift\n"
    "      fi ;;\n"
    "    *)\n"
    "      # a group that is a command itself has arguments beside its commands\n"
    "      case \" $(_argon_commands \"$command\") \" in\n"
    "      *\" $word \"*) command=\"${command:+$command }$word\" ;;\n"
    "      *) number=$((number + 1)) ;;\n"
    "      esac ;;\n"
    "    esac\n"
    "  done\n"
    "  local current=${1-}\n"
    "  if [ -z \"$expects\" ]; then\n"
    "    case \"$current\" in\n"
    "    -*) _argon_found=$(printf '%s\\n' \"$(_argon_options \"$command\") $_argon_common\" | tr -s ' ' '\\n'); return ;;\n"
    "    esac\n"
    "    if [ $number -eq 0 ]; then _argon_found=$(_argon_commands \"$command\"); fi\n"
    "    # of a group that is a command itself: its commands when one is begun, else its arguments\n"
    "    if [ -n \"$(_argon_arguments \"$command\")\" ]; then\n"
    "      case \"${current:+found} $_argon_found\" in \"found \"*\" $current\"* | \"found $current\"*) ;; *) _argon_found='' ;; esac\n"
    "    fi\n"
    "    _argon_found=$(printf '%s\\n' \"$_argon_found\" | tr ' ' '\\n')\n"
    "    [ -z \"$_argon_found\" ] || return 0\n"
    "    expects=$(_argon_arguments \"$command\" | tr ' ' '\\n' | sed -n \"$((number + 1))p\")\n"
    "    if [ -z \"$expects\" ]; then expects=$(_argon_arguments \"$command\" | tr ' ' '\\n' | sed -n '$p' | grep -F ...); fi\n"
    "  fi\n"
    "  expects=${expects#\\[}; expects=${expects%\\]}; expects=${expects%...}\n"
    "  case \"$expects\" in\n"
    "  PROJECT | BRANCH | COLLECTION)\n"
    "    _argon_found=$(argon completion names \"$expects\" \"${about[@]}\" --timeout 1s 2>/dev/null) ;;\n"
    "  KEY=VALUE) _argon_found=$(argon completion names KEY | sed 's/$/=/') ;;\n"
    "  KEY) _argon_found=$(argon completion names KEY) ;;\n"
    "  FILE*) _argon_found=FILE ;;\n"
    "  *[A-Z]*) ;;\n"
    "  *\\|*) _argon_found=$(printf '%s\\n' \"$expects\" | tr '|' '\\n') ;;\n"
    "  esac\n"
    "}\n\n";

void completion_print_bash(FILE *out)
{
    fputs("# Completion of argon for bash: source <(argon completion bash)\n\n", out);
    print_tables(out);
    fputs(engine, out);
    fputs("_argon() {\n"
          "  local current=${COMP_WORDS[COMP_CWORD]} word\n"
          "  local -a words=()\n"
          "  # to bash '=' is a word of its own: --option = value\n"
          "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD}\"; do [ \"$word\" = = ] || words+=(\"$word\"); done\n"
          "  if [ \"$current\" = = ]; then current=''; words+=(''); fi\n"
          "  COMPREPLY=()\n"
          "  _argon_complete \"${words[@]}\"\n"
          "  if [ \"$_argon_found\" = FILE ]; then\n"
          "    while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(compgen -f -- \"$current\")\n"
          "    compopt -o filenames 2>/dev/null\n"
          "    return 0\n"
          "  fi\n"
          "  # compgen -W would expand what stands in the names\n"
          "  while IFS= read -r word; do\n"
          "    case \"$word\" in '') ;; \"$current\"*) COMPREPLY+=(\"$(printf %q \"$word\")\") ;; esac\n"
          "  done <<<\"$_argon_found\"\n"
          "  case \"${COMPREPLY[0]-}\" in *=) compopt -o nospace 2>/dev/null ;; esac\n"
          "  return 0\n"
          "}\n"
          "complete -F _argon argon\n",
          out);
}

void completion_print_zsh(FILE *out)
{
    fputs("#compdef argon\n# Completion of argon for zsh: source <(argon completion zsh), or as a file _argon in $fpath\n\n", out);
    print_tables(out);
    fputs(engine, out);
    fputs("_argon() {\n"
          "  setopt local_options sh_word_split no_ksh_arrays\n"
          "  local _argon_found\n"
          "  _argon_complete \"${(@)words[2,CURRENT]}\"\n"
          "  if [ \"$_argon_found\" = FILE ]; then\n"
          "    _files\n"
          "    return\n"
          "  fi\n"
          "  local -a candidates=(\"${(@f)_argon_found}\")\n"
          "  candidates=(\"${(@)candidates:#}\")\n"
          "  [ ${#candidates} -gt 0 ] || return 1\n"
          "  case \"$candidates[1]\" in *=) compadd -S '' -- \"${candidates[@]}\" ;; *) compadd -- \"${candidates[@]}\" ;; esac\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _argon ]; then _argon \"$@\"; else compdef _argon argon; fi\n",
          out);
}
