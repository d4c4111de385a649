/*
 * main.c - airlock-plugin-check: reads the command line, runs every check in its own process,
 * prints TAP or JSON.
 */
#include "check.h"
#include "common/io.h"
#include "common/json.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONFIG_BYTES = 1 << 20 };

static const char USAGE[] =
    "usage: airlock-plugin-check [OPTION]... PLUGIN.so [CONFIG.json]\n"
    "Checks that a plugin keeps the Airlock plugin ABI.  Each check has a process of its own.\n"
    "\n"
    "  --class NAME           the class to check (default: the first)\n"
    "  --model DIR            checkpoint of the model (model_path)\n"
    "  --device NAME          cpu, cuda or cuda:N (default cpu)\n"
    "  --adapter-plugin SO    adapter plugin to check a model plugin with\n"
    "  --adapter DIR          an adapter's directory; may be repeated\n"
    "  --model-plugin SO      model plugin to check an adapter plugin with\n"
    "  --slow FACTOR          multiply time limits (sanitizers, emulators; default 1)\n"
    "  --json                 print one JSON object instead of TAP\n"
    "  --help, --version\n"
    "\n"
    "CONFIG.json is a model_config.json or one entry of its \"models\".\n"
    "Exit status: 0 nothing failed, 1 a check failed, 2 wrong usage.\n";

/* ---- reports -------------------------------------------------------------------------------- */

enum outcome failed(struct report *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
    return FAILED;
}

enum outcome skipped(struct report *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
    return SKIPPED;
}

void note(struct report *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->note, sizeof r->note, format, args);
    va_end(args);
}

/* One line, whatever a plugin put into its texts. */
static void flatten(char *text)
{
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
}

/* ---- one check ------------------------------------------------------------------------------ */

struct result {
    enum outcome outcome;
    struct report report;
};

/* Whether this check is for this kind of plugin is known only once it is open. */
static struct result run_here(const struct check *check, const struct check_options *options)
{
    struct result result = { .outcome = PASSED };
    struct subject s = { .options = options };
    struct airlock_error err;
    if (check->applies == TO_FILE) {
        result.outcome = check->run(&s, &result.report);
        return result;
    }
    if (subject_open(options->plugin, options->class_name, 0, &s, &err) != 0)
        result.outcome = skipped(&result.report, "it cannot be opened");
    else if ((check->applies == TO_MODEL && !s.model) ||
             (check->applies == TO_ADAPTER && !s.adapter))
        result.outcome = NOT_LISTED;
    else if (!s.model && !s.adapter)
        result.outcome =
            skipped(&result.report, "a class of a kind that this program does not know");
    else
        result.outcome = check->run(&s, &result.report);
    return result;
}

static void tell_death(int status, uint64_t ms, struct result *result)
{
    result->outcome = FAILED;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        failed(&result->report, "it hung: killed after %llu s", (unsigned long long)(ms / 1000));
    else if (WIFSIGNALED(status))
        failed(&result->report, "it crashed: signal %d (%s)", WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    else
        failed(&result->report, "it ended the process: exit status %d", WEXITSTATUS(status));
}

static struct result run_check(const struct check *check, const struct check_options *options)
{
    struct result result = { .outcome = FAILED };
    int channel[2], status = 0;
    fflush(NULL);
    if (pipe(channel) != 0) {
        failed(&result.report, "cannot make a pipe");
        return result;
    }
    uint64_t start = io_now_ns();
    pid_t child = fork();
    if (child == 0) {
        close(channel[0]);
        dup2(2, 1); /* what a plugin prints must not look like ours */
        alarm((unsigned)(CHECK_SECONDS * options->slow));
        struct result mine = run_here(check, options);
        _exit(io_write_all(channel[1], &mine, sizeof mine) == 0 ? 0 : 2);
    }
    close(channel[1]);
    ssize_t got = 0;
    for (ssize_t n = 1; child > 0 && n > 0 && got<(ssize_t)sizeof result; got += n> 0 ? n : 0)
        n = io_read(channel[0], (char *)&result + got, sizeof result - (size_t)got);
    close(channel[0]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        failed(&result.report, "cannot start a process");
    else if (got != sizeof result || status != 0)
        tell_death(status, (io_now_ns() - start) / 1000000, &result);
    result.report.text[sizeof result.report.text - 1] = 0;
    result.report.note[sizeof result.report.note - 1] = 0;
    flatten(result.report.text);
    flatten(result.report.note);
    return result;
}

/* ---- output --------------------------------------------------------------------------------- */

struct tally {
    unsigned n, outcomes[3];
    struct json_object *list; /* NULL: TAP */
};

static void print_tap(unsigned n, const struct check *check, const struct result *r)
{
    const char *skip = r->outcome == SKIPPED ? " # SKIP " : "";
    printf("%sok %u - %s%s%s\n", r->outcome == FAILED ? "not " : "", n, check->name, skip,
           r->outcome == SKIPPED ? r->report.text : "");
    if (r->outcome == FAILED)
        printf("# %s\n# advice: %s\n", r->report.text, check->advice);
    if (r->report.note[0])
        printf("# %s\n", r->report.note);
    fflush(stdout);
}

static void add_json(struct json_object *list, const struct check *check, const struct result *r)
{
    static const char *const words[] = { "passed", "failed", "skipped" };
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "name", json_object_new_string(check->name));
    json_object_object_add(o, "outcome", json_object_new_string(words[r->outcome]));
    if (r->report.text[0])
        json_object_object_add(o, "why", json_object_new_string(r->report.text));
    if (r->report.note[0])
        json_object_object_add(o, "note", json_object_new_string(r->report.note));
    if (r->outcome == FAILED)
        json_object_object_add(o, "advice", json_object_new_string(check->advice));
    json_object_array_add(list, o);
}

static void run_table(const struct check *checks, const struct check_options *options,
                      struct tally *tally)
{
    for (const struct check *c = checks; c->name; c++) {
        struct result r = run_check(c, options);
        if (r.outcome == NOT_LISTED)
            continue;
        tally->n++;
        tally->outcomes[r.outcome]++;
        if (tally->list)
            add_json(tally->list, c, &r);
        else
            print_tap(tally->n, c, &r);
    }
}

static void print_end(const struct check_options *options, const struct tally *t)
{
    if (!t->list) {
        printf("1..%u\n# %u passed, %u failed, %u skipped\n", t->n, t->outcomes[PASSED],
               t->outcomes[FAILED], t->outcomes[SKIPPED]);
        return;
    }
    struct json_object *root = json_object_new_object();
    json_object_object_add(root, "plugin", json_object_new_string(options->plugin));
    json_object_object_add(root, "passed", json_object_new_int((int)t->outcomes[PASSED]));
    json_object_object_add(root, "failed", json_object_new_int((int)t->outcomes[FAILED]));
    json_object_object_add(root, "skipped", json_object_new_int((int)t->outcomes[SKIPPED]));
    json_object_object_add(root, "checks", t->list);
    puts(json_object_to_json_string_ext(root,
                                        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(root);
}

/* ---- configuration -------------------------------------------------------------------------- */

static const char *string_member(struct json_object *entry, const char *key)
{
    struct json_object *v = NULL;
    json_object_object_get_ex(entry, key, &v);
    return v && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

/* What the command line leaves open is taken from the file, which lives as long as the process. */
static int read_config(const char *path, struct check_options *opt, struct airlock_error *err)
{
    struct json_object *root = json_parse_file(path, CONFIG_BYTES, err), *models = NULL, *v = NULL;
    if (!root)
        return -1;
    struct json_object *entry = root;
    if (json_object_object_get_ex(root, "models", &models)) {
        entry = json_object_is_type(models, json_type_array) ? json_object_array_get_idx(models, 0)
                                                             : NULL;
        for (size_t i = 0; entry && opt->class_name && i < json_object_array_length(models); i++) {
            const char *name = string_member(json_object_array_get_idx(models, i), "class_name");
            if (name && strcmp(name, opt->class_name) == 0)
                entry = json_object_array_get_idx(models, i);
        }
    }
    if (!entry || !json_object_is_type(entry, json_type_object)) {
        json_object_put(root);
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: no model entry in it", path);
    }
    if (!opt->class_name)
        opt->class_name = string_member(entry, "class_name");
    if (!opt->model_path)
        opt->model_path = string_member(entry, "model_path");
    if (!opt->device)
        opt->device = string_member(entry, "device");
    opt->dtype = string_member(entry, "dtype");
    if (json_object_object_get_ex(entry, "options", &v))
        opt->options = json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN);
    if (json_object_object_get_ex(entry, "max_context", &v))
        opt->max_context = json_object_get_int64(v);
    return 0;
}

static int wrong_usage(const char *why)
{
    fprintf(stderr, "airlock-plugin-check: %s\n%s", why, USAGE);
    return 2;
}

enum {
    OPT_CLASS = 256,
    OPT_MODEL,
    OPT_DEVICE,
    OPT_ADAPTER_PLUGIN,
    OPT_ADAPTER,
    OPT_MODEL_PLUGIN,
    OPT_SLOW,
    OPT_JSON,
    OPT_HELP,
    OPT_VERSION
};

static const struct option OPTIONS[] = {
    { "class", required_argument, NULL, OPT_CLASS },
    { "model", required_argument, NULL, OPT_MODEL },
    { "device", required_argument, NULL, OPT_DEVICE },
    { "adapter-plugin", required_argument, NULL, OPT_ADAPTER_PLUGIN },
    { "adapter", required_argument, NULL, OPT_ADAPTER },
    { "model-plugin", required_argument, NULL, OPT_MODEL_PLUGIN },
    { "slow", required_argument, NULL, OPT_SLOW },
    { "json", no_argument, NULL, OPT_JSON },
    { "help", no_argument, NULL, OPT_HELP },
    { "version", no_argument, NULL, OPT_VERSION },
    { 0 }
};

/* -1: go on; otherwise the exit status. */
static int take_option(int c, struct check_options *opt, bool *json)
{
    switch (c) {
    case OPT_CLASS:
        opt->class_name = optarg;
        return -1;
    case OPT_MODEL:
        opt->model_path = optarg;
        return -1;
    case OPT_DEVICE:
        opt->device = optarg;
        return -1;
    case OPT_ADAPTER_PLUGIN:
        opt->adapter_plugin = optarg;
        return -1;
    case OPT_MODEL_PLUGIN:
        opt->model_plugin = optarg;
        return -1;
    case OPT_ADAPTER:
        if (opt->n_adapters == ADAPTERS_MAX)
            return wrong_usage("too many --adapter");
        opt->adapters[opt->n_adapters++] = optarg;
        return -1;
    case OPT_SLOW:
        opt->slow = strtol(optarg, NULL, 10);
        return opt->slow >= 1 && opt->slow <= 1000 ? -1 : wrong_usage("--slow is 1 to 1000");
    case OPT_JSON:
        *json = true;
        return -1;
    case OPT_HELP:
        fputs(USAGE, stdout);
        return 0;
    case OPT_VERSION:
        printf("airlock-plugin-check " AIRLOCK_VERSION ", plugin ABI %d.%d\n", LLM_ABI_MAJOR,
               LLM_ABI_MINOR);
        return 0;
    default:
        return wrong_usage("unknown option");
    }
}

int main(int argc, char **argv)
{
    static const struct check *const tables[] = { file_checks,     life_checks,   contract_checks,
                                                  generate_checks, cancel_checks, together_checks,
                                                  adapter_checks,  manners_checks };
    struct check_options opt = { .slow = 1 };
    struct tally tally = { 0 };
    struct airlock_error err;
    bool json = false;
    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        int rc = take_option(c, &opt, &json);
        if (rc >= 0)
            return rc;
    }
    if (argc - optind < 1 || argc - optind > 2)
        return wrong_usage("needs one plugin, and at most one configuration");
    opt.plugin = realpath(argv[optind], NULL);
    if (!opt.plugin) {
        fprintf(stderr, "airlock-plugin-check: %s: no such file\n", argv[optind]);
        return 2;
    }
    if (argc - optind == 2 && read_config(argv[optind + 1], &opt, &err) != 0) {
        fprintf(stderr, "airlock-plugin-check: %s\n", err.text);
        return 2;
    }
    if (json)
        tally.list = json_object_new_array();
    else
        puts("TAP version 13");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        run_table(tables[i], &opt, &tally);
    print_end(&opt, &tally);
    return tally.outcomes[FAILED] ? 1 : 0;
}
