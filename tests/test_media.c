/* test_media.c - pictures and sounds are decoded in the sealed worker, rightly, or refused with a
 * sentence; attack case A35, and a worker that turns against the plugin. */
#include "golden_file.h"
#include "phi4-multimodal/image_decode.h"
#include "phi4-multimodal/media_client.h"
#include "phi4-multimodal/media_seal.h"
#include "suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 3 * 1000 * 1000 };

static struct media_worker *start(const char *program)
{
    char path[1024];
    struct airlock_error err;
    const char *top = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/%s", top ? top : ".", program);
    struct media_worker *w = media_worker_start(path, &err);
    ck_assert_msg(w != NULL, "%s", err.text);
    return w;
}

static struct media_worker *worker(void)
{
    return start("airlock-media-worker");
}

/* Refused as the caller's fault, with a sentence that has these words. */
static void refused(struct media_worker *w, const void *file, size_t size, const char *words)
{
    struct media_output out;
    struct airlock_error err = { 0 };
    ck_assert_int_eq(media_worker_decode(w, MEDIA_IMAGE, file, size, ROOM, NULL, &out, &err), -1);
    ck_assert_msg(err.code == AIRLOCK_E_REQUEST, "%d: %s", err.code, err.text);
    ck_assert_msg(strstr(err.text, words) != NULL, "\"%s\" does not say \"%s\"", err.text, words);
}

/* ---- pictures that are right ----------------------------------------------------------------- */

static void same_pixels(struct media_worker *w, const char *name)
{
    char rgb_name[300];
    size_t size, rgb_size;
    struct media_output out;
    struct airlock_error err;
    snprintf(rgb_name, sizeof rgb_name, "%s.rgb", name);
    uint8_t *file = golden_file("images", name, &size);
    uint8_t *rgb = golden_file("images", rgb_name, &rgb_size);
    int status = media_worker_decode(w, MEDIA_IMAGE, file, size, ROOM, NULL, &out, &err);
    ck_assert_msg(status == 0, "%s: %s", name, status ? err.text : "");
    ck_assert_msg(memcmp(out.size, rgb, 8) == 0, "%s: %u x %u", name, out.size[0], out.size[1]);
    ck_assert_uint_eq(out.bytes, rgb_size - 8);
    for (size_t i = 0; i < out.bytes; i++)
        ck_assert_msg(out.data[i] == rgb[8 + i], "%s: byte %zu is %u, not %u", name, i, out.data[i],
                      rgb[8 + i]);
    media_output_free(&out);
    free(file);
    free(rgb);
}

START_TEST(every_kind_of_file_has_the_pixels_of_the_reference)
{
    char path[1024];
    const char *top = getenv("top_srcdir");
    struct media_worker *w = worker();
    snprintf(path, sizeof path, "%s/tests/golden/images", top ? top : ".");
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (e->d_name[0] == '.' || strcmp(dot, ".rgb") == 0)
            continue;
        same_pixels(w, e->d_name);
        n++;
    }
    ck_assert_uint_ge(n, 30);
    closedir(dir);
    media_worker_stop(w);
}
END_TEST

static void *decode_many(void *arg)
{
    for (int i = 0; i < 5; i++)
        same_pixels(arg, i % 2 ? "rgba.png" : "rgb.jpg");
    return NULL;
}

START_TEST(many_threads_may_have_files_decoded_at_once)
{
    struct media_worker *w = worker();
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, decode_many, w), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    media_worker_stop(w);
}
END_TEST

START_TEST(sound_comes_out_as_samples)
{
    size_t size, want_size;
    struct media_output out;
    struct airlock_error err;
    struct media_worker *w = worker();
    const char *const names[] = { "wav16k_s16.wav", "flac44100.flac", "mp3_44100.mp3",
                                  "vorbis44100.ogg", "opus48k.opus" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char want_name[64];
        snprintf(want_name, sizeof want_name, "%.*s.f32", (int)strcspn(names[i], "."), names[i]);
        void *file = golden_file("audio", names[i], &size);
        float *want = golden_file("audio", want_name, &want_size);
        int status =
            media_worker_decode(w, MEDIA_SOUND, file, size, 30 * 16000 * 4, NULL, &out, &err);
        ck_assert_msg(status == 0, "%s: %s", names[i], status ? err.text : "");
        ck_assert_uint_eq(out.size[0], 16000);
        ck_assert_uint_eq(out.bytes, want_size);
        float worst = 0;
        for (size_t k = 0; k < want_size / 4; k++) {
            const float d = ((const float *)(const void *)out.data)[k] - want[k];
            worst = d > worst ? d : -d > worst ? -d : worst;
        }
        ck_assert_msg(worst < 0.02f, "%s: off by %g", names[i], (double)worst);
        media_output_free(&out);
        free(file);
        free(want);
    }
    media_worker_stop(w);
}
END_TEST

/* ---- files that are wrong -------------------------------------------------------------------- */

START_TEST(a_size_beyond_the_limits_is_refused_from_the_header_alone)
{
    size_t size;
    struct media_worker *w = worker();
    uint8_t *png = golden_file("images", "bit.png", &size);
    memcpy(png + 16, "\0\0\xff\xff\0\0\xff\xff",
           8); /* its checksum is wrong too, and not looked at */
    refused(w, png, size, "it is 65535 x 65535 pixels: at most");
    memcpy(png + 16, "\0\0\0\0\0\0\0\5", 8);
    refused(w, png, size, "it is 0 x 5 pixels");
    memcpy(png + 16, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    refused(w, png, size, "it is 4294967295 x 4294967295 pixels");
    free(png);
    uint8_t *gif = golden_file("images", "palette.gif", &size);
    memcpy(gif + 6, "\xff\xff\xff\xff", 4);
    refused(w, gif, size, "it is 65535 x 65535 pixels");
    memcpy(gif + 6, "\x1b\0\x05\0", 4); /* a frame larger than the screen */
    refused(w, gif, size, "outside the picture");
    free(gif);
    uint8_t *jpeg = golden_file("images", "rgb.jpg", &size);
    uint8_t *frame = memmem(jpeg, size, "\xff\xc0\0\x11\x08", 5);
    ck_assert_ptr_nonnull(frame);
    memcpy(frame + 5, "\xfd\xff\xfd\xff", 4);
    refused(w, jpeg, size, "pixels: at most");
    free(jpeg);
    media_worker_stop(w);
}
END_TEST

START_TEST(what_is_no_picture_is_refused)
{
    struct media_worker *w = worker();
    struct airlock_error err;
    struct media_output out;
    refused(w, "GIF89b", 6, "not a PNG, JPEG, WebP or GIF");
    refused(w, "\xff", 1, "not a PNG, JPEG, WebP or GIF");
    refused(w, "", 0, "empty");
    refused(w, "\x89PNG\r\n\x1a\n", 8, "PNG is broken");
    refused(w, "\xff\xd8\xff\xe0", 4, "JPEG");
    refused(w, "RIFF\x10\0\0\0WEBPVP8 ", 16, "WebP header is broken");
    refused(w, "GIF89a", 6, "GIF header is broken");
    refused(w, "<svg xmlns='http://www.w3.org/2000/svg'/>", 40, "not a PNG");
    ck_assert_int_eq(media_worker_decode(w, MEDIA_IMAGE, "x", (size_t)MEDIA_FILE_BYTES_MAX + 1,
                                         ROOM, NULL, &out, &err),
                     -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
    media_worker_stop(w);
}
END_TEST

START_TEST(a_file_that_ends_too_early_is_refused)
{
    const char *const names[] = { "rgb.png", "rgb.jpg", "lossy.webp", "rgba.webp", "palette.gif" };
    struct media_worker *w = worker();
    for (size_t i = 0; i < 5; i++) {
        size_t size;
        uint8_t *file = golden_file("images", names[i], &size);
        for (int part = 1; part < 8; part++)
            refused(w, file, size * (size_t)part / 8, i < 2 ? "its" : "");
        free(file);
    }
    media_worker_stop(w);
}
END_TEST

START_TEST(a_progressive_jpeg_with_thousands_of_scans_is_refused)
{
    size_t size;
    uint8_t *jpeg = golden_file("images", "progressive.jpg", &size);
    /* its last scan again and again */
    uint8_t *scan = jpeg + size - 2;
    while (memcmp(--scan, "\xff\xda", 2) != 0)
        ;
    const size_t head = (size_t)(scan - jpeg), one = size - 2 - head;
    uint8_t *many = malloc(head + 3000 * one + 2);
    memcpy(many, jpeg, head);
    for (size_t i = 0; i < 3000; i++)
        memcpy(many + head + i * one, scan, one);
    memcpy(many + head + 3000 * one, "\xff\xd9", 2);
    struct media_worker *w = worker();
    refused(w, many, head + 3000 * one + 2, "scans");
    media_worker_stop(w);
    free(many);
    free(jpeg);
}
END_TEST

/* A million chunks, and one that would inflate to gigabytes. */
START_TEST(png_chunks_are_bounded)
{
    static const uint8_t text[] = { 0, 0, 0, 3, 't', 'E', 'X', 't', 'a', 0, 'b', 0xb0, 0x25, 0, 0 };
    size_t size;
    uint8_t *png = golden_file("images", "rgb.png", &size);
    const size_t n = 200000;
    uint8_t *many = malloc(size + n * sizeof text);
    memcpy(many, png, 33);
    for (size_t i = 0; i < n; i++)
        memcpy(many + 33 + i * sizeof text, text, sizeof text);
    memcpy(many + 33 + n * sizeof text, png + 33, size - 33);
    struct media_worker *w = worker();
    struct media_output out;
    struct airlock_error err;
    /* bad checksums: libpng leaves such chunks out; either way nothing grows */
    if (media_worker_decode(w, MEDIA_IMAGE, many, size + n * sizeof text, ROOM, NULL, &out, &err) <
        0)
        ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
    media_output_free(&out);
    same_pixels(w, "rgb.png"); /* and the worker lives */
    media_worker_stop(w);
    free(many);
    free(png);
}
END_TEST

/* ---- a worker that fails or turns ------------------------------------------------------------ */

START_TEST(a_decoder_that_dies_lies_or_floods_costs_one_request_only)
{
    struct media_worker *w = start("tests/fakes/media-worker");
    struct airlock_error err;
    struct media_output out;
    ck_assert_int_eq(media_worker_decode(w, MEDIA_IMAGE, "g", 1, ROOM, NULL, &out, &err), 0);
    ck_assert_uint_eq(out.bytes, 6);
    media_output_free(&out);
    refused(w, "d", 1, "its decoder crashed");
    refused(w, "w", 1, "its decoder crashed");
    refused(w, "b", 1, "too much");
    refused(w, "t", 1, "odd???b??");
    refused(w, "x", 1, "its decoder crashed");
    ck_assert_int_eq(media_worker_decode(w, MEDIA_IMAGE, "s", 1, ROOM, NULL, &out, &err), 0);
    volatile uint8_t last = out.data[ROOM - 1]; /* no SIGBUS: the memory could not shrink */
    (void)last;
    media_output_free(&out);
    media_worker_stop(w);
}
END_TEST

START_TEST(a_program_that_is_not_there_is_named)
{
    struct airlock_error err;
    ck_assert_ptr_null(media_worker_start("/nonexistent/airlock-media-worker", &err));
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/airlock-media-worker"));
}
END_TEST

/* ---- the seal -------------------------------------------------------------------------------- */

static void try_open(void)
{
    _exit(open("/dev/null", O_RDONLY) >= 0 ? 0 : 1);
}

static void try_socket(void)
{
    _exit(socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? 0 : 1);
}

static void try_fork(void)
{
    _exit(fork() >= 0 ? 0 : 1);
}

static void try_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void try_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _exit(p != MAP_FAILED ? 0 : 1);
}

static void try_kill(void)
{
    _exit(kill(getppid(), 0) == 0 ? 0 : 1);
}

static void try_memory(void)
{
    const size_t bytes = (size_t)MEDIA_MEMORY_BYTES + 4096;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _exit(p != MAP_FAILED ? 0 : 1);
}

static void try_computing(void)
{
    char *volatile p = malloc(1 << 20);
    memset(p, 1, 1 << 20);
    free(p);
    _exit(p ? 0 : 1);
}

/* The wait status of a process that does it, sealed or not. */
static int status_of(void (*act)(void), bool sealed)
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (sealed && media_seal())
            _exit(99);
        act();
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

START_TEST(a_sealed_process_can_compute_and_nothing_else)
{
    void (*const forbidden[])(void) = { try_socket, try_fork, try_exec, try_code, try_kill };
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        ck_assert_msg(status_of(forbidden[i], false) == 0, "unsealed %zu", i);
        int status = status_of(forbidden[i], true);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "sealed %zu: %x", i,
                      (unsigned)status);
    }
    ck_assert_int_eq(status_of(try_open, false), 0);
    ck_assert_int_eq(WEXITSTATUS(status_of(try_open, true)), 1);
    ck_assert_int_eq(status_of(try_computing, true), 0);
    ck_assert_int_eq(status_of(try_memory, false), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ck_assert_int_eq(WEXITSTATUS(status_of(try_memory, true)), 1);
#endif
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_kind_of_file_has_the_pixels_of_the_reference,
        many_threads_may_have_files_decoded_at_once,
        sound_comes_out_as_samples,
        a_size_beyond_the_limits_is_refused_from_the_header_alone,
        what_is_no_picture_is_refused,
        a_file_that_ends_too_early_is_refused,
        a_progressive_jpeg_with_thousands_of_scans_is_refused,
        png_chunks_are_bounded,
        a_decoder_that_dies_lies_or_floods_costs_one_request_only,
        a_program_that_is_not_there_is_named,
        a_sealed_process_can_compute_and_nothing_else,
        NULL,
    };
    return suite_run("media", tests);
}
