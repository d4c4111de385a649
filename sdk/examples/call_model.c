/*
 * call_model.c - asks Phi-4-mini in the container "phi" how it is, and prints the answer.
 *
 *     cc call_model.c -o call_model $(pkg-config --cflags --libs airlock)
 *     ./call_model [HOST]          HOST: http://127.0.0.1:8000 or unix:/PATH
 */
#include <airlock/airlock.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    airlock_message messages[] = {
        { "system", "You are a helpful assistant." },
        { "user", "how are you?" },
    };
    airlock_parameters parameters = { 0 };
    airlock_error err;
    char *answer;

    parameters.set = AIRLOCK_SET_DO_SAMPLE | AIRLOCK_SET_MAX_NEW_TOKENS;
    parameters.do_sample = 0; /* the same answer every time */
    parameters.max_new_tokens = 1024;
    answer = airlock_call_model_server("phi", "Phi4MiniInstruct", messages, 2, NULL, 0, NULL,
                                       &parameters, argc > 1 ? argv[1] : NULL, &err);
    if (!answer) {
        fprintf(stderr, "call_model: %s\n", err.text);
        return 1;
    }
    puts(answer);
    airlock_free(answer);
    return 0;
}
