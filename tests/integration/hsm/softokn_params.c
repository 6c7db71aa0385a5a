/* NSS's token takes its folder from a pointer that only NSS hands over. This module is that token, with
 * the text of ANYA_SOFTOKN behind the pointer. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long rv_t;
typedef struct {
    void *create, *destroy, *lock, *unlock;
    unsigned long flags;
    char *parameters;
    void *reserved;
} arguments_t;
typedef struct {
    unsigned char major, minor;
    rv_t (*initialize)(void *);
    void *others[67];
} functions_t;

static functions_t functions;
static rv_t (*initialize)(void *);

static rv_t initialize_here(void *given) {
    arguments_t arguments = {0};
    (void)given;
    arguments.flags = 2; /* CKF_OS_LOCKING_OK */
    arguments.parameters = getenv("ANYA_SOFTOKN");
    return initialize(&arguments);
}

rv_t C_GetFunctionList(void **list) {
    void *module = dlopen("libsoftokn3.so", RTLD_NOW);
    rv_t (*get)(void **) = module ? (rv_t (*)(void **))dlsym(module, "C_GetFunctionList") : NULL;
    void *found;
    if (!get || get(&found)) return 5; /* CKR_GENERAL_ERROR */
    memcpy(&functions, found, sizeof functions);
    initialize = functions.initialize;
    functions.initialize = initialize_here;
    *list = &functions;
    return 0;
}
