/* media_tool.c - prints what becomes of pictures and sounds on their way into the model, for
 * comparison with other implementations. */
#include "phi4-multimodal/audio_clips.h"
#include "phi4-multimodal/vision_encoder.h"

#include "common/json.h"
#include "null_host.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: media_tool BUILD DIR image FILE\n"
    "       media_tool BUILD DIR speech|vision FILE...\n"
    "       media_tool BUILD DIR answer TEXT IMAGES FILE...\n"
    "  image: pixels of the crops, outputs of the tower, embeddings; speech, vision: features and\n"
    "  embeddings of each sound of one request.  Each array is a line \"NAME ROWS COLUMNS\" and "
    "its\n"
    "  float32.  A file that is refused: \"refused SENTENCE\".\n"
    "  answer: five greedy tokens of the plugin, a line each: the 20 likeliest as \"ID LOGPROB\".\n"
    "  The first IMAGES files are pictures, the others sounds.\n";

enum { MAX_FILES = 8, TOP = 20 };

static struct airlock_error err;
static char worker_path[PATH_MAX];
static struct media_file files[MAX_FILES];
static size_t n_files;

static void die(const char *what)
{
    fprintf(stderr, "media_tool: %s\n", what);
    exit(1);
}

static void need(bool ok)
{
    if (ok)
        return;
    if (err.code != AIRLOCK_E_REQUEST)
        die(err.text);
    printf("refused %s\n", err.text);
    exit(0);
}

static void put(const char *name, const float *numbers, size_t rows, size_t columns)
{
    printf("%s %zu %zu\n", name, rows, columns);
    if (fwrite(numbers, sizeof *numbers, rows * columns, stdout) != rows * columns)
        die("cannot write");
}

static void read_files(char **names, int n)
{
    if (n > MAX_FILES)
        die("too many files");
    for (int i = 0; i < n; i++) {
        FILE *f = fopen(names[i], "rb");
        if (!f || fseek(f, 0, SEEK_END))
            die(names[i]);
        const size_t size = (size_t)ftell(f);
        char *data = malloc(size + 1);
        rewind(f);
        if (!data || fread(data, 1, size, f) != size)
            die(names[i]);
        fclose(f);
        files[n_files++] = (struct media_file){ .bytes = data, .size = size };
    }
}

struct opened {
    struct ops_device *dev;
    struct safetensors *st;
    struct json_object *config;
    struct media_worker *worker;
};

/* Room for n activations, which on the CPU are float32. */
static float *room(struct ops_device *dev, size_t n)
{
    float *p = ops_cpu()->alloc(dev, n * sizeof *p);
    if (!p)
        die("out of memory");
    return p;
}

static struct opened open_all(const char *dir)
{
    char path[PATH_MAX];
    const struct ops_open how = { .threads = 2 };
    const char *why = "";
    struct opened o = { .dev = ops_cpu()->open(&how, &why),
                        .worker = media_worker_start(worker_path, &err) };
    if (!o.dev)
        die(why);
    need(o.worker != NULL);
    snprintf(path, sizeof path, "%s/config.json", dir);
    o.config = json_parse_file(path, 1 << 20, &err);
    need(o.config != NULL);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    o.st = safetensors_open_file(path, &err);
    need(o.st != NULL);
    return o;
}

static void close_all(struct opened *o)
{
    safetensors_close(o->st);
    json_object_put(o->config);
    media_worker_stop(o->worker);
    ops_cpu()->close(o->dev);
}

/* ---- a picture ------------------------------------------------------------------------------- */

static void image(struct opened *o)
{
    struct vision_config config;
    struct vision_weights weights;
    struct media_output out;
    struct image_canvas canvas;
    struct vision_job job;
    need(media_worker_decode(o->worker, MEDIA_IMAGE, files[0].bytes, files[0].size,
                             (size_t)3 * IMAGE_MAX_PIXELS, NULL, &out, &err) == 0);
    need(image_canvas_make(&canvas, out.data, out.size[0], out.size[1], &err) == 0);
    media_output_free(&out);
    const size_t crops = image_n_crops(&canvas.plan);
    float *pixels = malloc(crops * IMAGE_CROP_FLOATS * sizeof *pixels);
    for (size_t i = 0; i < crops; i++)
        image_crop(&canvas, i, pixels + i * IMAGE_CROP_FLOATS);
    put("pixels", pixels, crops, IMAGE_CROP_FLOATS);
    free(pixels);

    need(vision_config_parse(o->config, &config, &err) == 0 &&
         vision_weights_load(&weights, &config, o->st, ops_cpu(), o->dev, &err) == 0);
    struct vision_encoder *e = vision_encoder_new(&config, &weights, ops_cpu(), o->dev, &err);
    need(e != NULL);
    const size_t n = canvas.plan.tokens * config.text_hidden;
    float *embeddings = room(o->dev, n);
    need(vision_job_begin(&job, e, &canvas, embeddings, &err) == 0);
    int more;
    while ((more = vision_encoder_step(e, &job, &err)) > 0)
        ;
    need(more == 0);
    put("tower", job.features, crops * IMAGE_PATCHES * IMAGE_PATCHES / 4, weights.hidden);
    vision_job_end(&job);
    put("embeddings", embeddings, canvas.plan.tokens, config.text_hidden);
    ops_cpu()->free(o->dev, embeddings);
    image_canvas_free(&canvas);
    vision_encoder_free(e);
    vision_weights_free(&weights, ops_cpu(), o->dev);
}

/* ---- sounds ---------------------------------------------------------------------------------- */

static void clip(struct opened *o, struct audio_encoder *e, const struct audio_input *in,
                 size_t width)
{
    const size_t rows = log_mel_tokens(in->frames);
    float *embeddings = room(o->dev, rows * width);
    struct audio_job job;
    int more = 1;
    put("features", in->features, in->frames, LOG_MEL_BINS);
    need(audio_job_begin(&job, in, embeddings, &err) == 0);
    while (more > 0)
        more = audio_encoder_step(e, &job, &err);
    need(more == 0);
    put("embeddings", embeddings, rows, width);
    ops_cpu()->free(o->dev, embeddings);
}

static void sounds(struct opened *o, enum audio_mode mode)
{
    struct audio_config config;
    struct audio_weights weights;
    struct audio_clips clips;
    need(audio_clips_prepare(o->worker, files, n_files, 1800, NULL, &clips, &err) == 0);
    need(audio_config_parse(o->config, &config, &err) == 0 &&
         audio_weights_load(&weights, &config, o->st, ops_cpu(), o->dev, &err) == 0);
    struct audio_encoder *e = audio_encoder_new(&config, &weights, ops_cpu(), o->dev, &err);
    need(e != NULL);
    for (size_t i = 0; i < n_files; i++) {
        const struct audio_input in = audio_clips_input(&clips, i, mode);
        clip(o, e, &in, config.text_hidden);
    }
    audio_encoder_free(e);
    audio_weights_free(&weights, ops_cpu(), o->dev);
    audio_clips_free(&clips);
}

/* ---- the whole model ------------------------------------------------------------------------- */

static void token(const llm_sink *s, const llm_token *t)
{
    (void)s;
    for (uint32_t i = 0; i < t->n_top; i++)
        printf("%lld %.7g ", (long long)t->top[i]->id, (double)t->top[i]->logprob);
    printf("\n");
}

static void answer(const char *build, const char *dir, const char *text, size_t n_images)
{
    static const llm_host host = { sizeof host, 0, NULL, null_log, null_service };
    static char path[PATH_MAX], options[PATH_MAX + 100];
    llm_error e = { .struct_size = sizeof e };
    const llm_sink sink = {
        .struct_size = sizeof sink, .emit = null_emit, .cancelled = never_cancelled, .token = token
    };
    llm_media media[MAX_FILES];
    const llm_media *list[MAX_FILES];
    llm_model *model;
    snprintf(path, sizeof path, "%s/plugins/.libs/phi4-multimodal.so", build);
    const llm_model_class *cls = model_class_of(path);
    if (!cls || n_images > n_files)
        die(cls ? "fewer files than pictures" : dlerror());
    snprintf(options, sizeof options, "{\"media_worker\":\"%s\"}", worker_path);
    const llm_config config = { .struct_size = sizeof config,
                                .name = str("tool"),
                                .path = str(dir),
                                .device = str("cpu"),
                                .threads = 2,
                                .options_json = str(options) };
    for (size_t i = 0; i < n_files; i++) {
        media[i] =
            (llm_media){ .struct_size = sizeof *media, .bytes = { files[i].bytes, files[i].size } };
        list[i] = &media[i];
    }
    const llm_message message = { .struct_size = sizeof message,
                                  .role = LLM_ROLE_USER,
                                  .content = str(text) };
    const llm_message *messages[] = { &message };
    const llm_params params = { .struct_size = sizeof params,
                                .set = LLM_P_MAX_NEW_TOKENS | LLM_P_LOGPROBS,
                                .logprobs = TOP,
                                .max_new_tokens = 5 };
    const llm_request request = { .struct_size = sizeof request,
                                  .messages = messages,
                                  .n_messages = 1,
                                  .images = list,
                                  .n_images = n_images,
                                  .audios = list + n_images,
                                  .n_audios = n_files - n_images,
                                  .params = &params };
    llm_stats stats = { .struct_size = sizeof stats };
    if (cls->create(&host, &config, &model, &e) != LLM_OK ||
        cls->load(model, &sink, &e) != LLM_OK ||
        cls->generate(model, &request, &sink, &stats, &e) != LLM_OK)
        die(e.text);
    cls->destroy(model);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs(help, stderr);
        return 2;
    }
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/airlock-media-worker", argv[1]);
    if (!realpath(path, worker_path))
        die(path);
    if (strcmp(argv[3], "answer") == 0 && argc > 5) {
        read_files(argv + 6, argc - 6);
        answer(argv[1], argv[2], argv[4], strtoul(argv[5], NULL, 10));
        return 0;
    }
    read_files(argv + 4, argc - 4);
    struct opened o = open_all(argv[2]);
    if (strcmp(argv[3], "image") == 0)
        image(&o);
    else
        sounds(&o, strcmp(argv[3], "speech") == 0 ? AUDIO_SPEECH : AUDIO_VISION);
    close_all(&o);
    return 0;
}
