// A stand-in for libnvinfer and libnvonnxparser: virtual tables with a function at every slot of
// slots.def and a trap at every other, a record of the calls, and failures on request. Its
// network computes y = 2x with x of shape [-1, 3], in profile 1..2..4, on memory that the CPU can
// reach; with FAKE_TENSORRT_ONNXRUNTIME it is the ONNX file itself (onnx.h), rounded to half precision where
// that is asked for, negated if the file's path holds FAKE_TENSORRT_WRONG, or FAKE_TENSORRT_HALF_WRONG and it is rounded, and
// three quarters of itself if it holds FAKE_TENSORRT_FAINT. Compiled once per family: -DCOLUMN=8|10|11 -DMAJOR= -DMINOR= -DPATCH= -DBUILD= [-DRTX].
#define _GNU_SOURCE // memmem
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if COLUMN == 8
typedef int32_t Extent;
#define PICK(v8, v10, v11) (v8)
#define WHOLE (MAJOR * 1000 + MINOR * 100 + PATCH)
#else
typedef int64_t Extent;
#define PICK(v8, v10, v11) (COLUMN == 10 ? (v10) : (v11))
#define WHOLE (MAJOR * 10000 + MINOR * 100 + PATCH)
#endif
#ifdef RTX
#define RTX_ONLY(slot) slot
#else
#define RTX_ONLY(slot) -1
#endif

// The enumerators of slots.def: LayerType_kSOFTMAX and so on.
#define SLOT(class, method, v8, v10, v11)
#define VALUE(type, name, v8, v10, v11) type##_##name = PICK(v8, v10, v11),
enum {
#include "slots.def"
};
#undef SLOT
#undef VALUE

typedef struct { int32_t count; Extent extents[8]; } Dims;
typedef void (*Function)(void);
enum { SLOTS = 80 };

// ---- record and injected failures -------------------------------------------------------------

static char record[1 << 16];
static char failing[64];
static int failure, alive;
enum { REFUSE = 1, GARBAGE = 2, COMPLAIN = 3, ELSEWHERE = 4, HOLLOW = 5, ROTTEN = 6 };

static void note(const char *format, ...) {
    size_t used = strlen(record);
    if (used > sizeof record - 4200) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(record + used, sizeof record - used - 1, format, arguments);
    va_end(arguments);
    strcat(record, "\n");
}
const char *fake_calls(void) { return record; }
int fake_alive(void) { return alive; }
void fake_fail(const char *method, int how) { snprintf(failing, sizeof failing, "%s", method); failure = how; }

static void **logger;
typedef struct { const char *kind; int32_t major, minor; } Interface;
static void say(int severity, const char *message) {
    void **table = *logger;
    if (COLUMN == 11) {
        Interface face = ((Interface(*)(void *))table[1])(logger);
        if (((int32_t(*)(void *))table[0])(logger) != 0 || strcmp(face.kind, "ILogger") != 0) abort();
        ((void (*)(void *, int32_t, const char *))table[4])(logger, severity, message);
    } else {
        ((void (*)(void *, int32_t, const char *))table[0])(logger, severity, message);
    }
}
void fake_say(int severity, const char *message) { say(severity, message); }
static void *complain(void *unused) { say(2, "a first warning"); say(1, "the injected reason"); return unused; }
// 0: carry on. Otherwise the method must fail; *address is what a failing one returns as a pointer: a handle without an
// implementation, or with one that cannot be, is nobody's to delete.
static int fails(const char *method, void **address) {
    static void *broken[2];
    if (strcmp(method, failing) != 0) return 0;
    broken[1] = failure == ROTTEN ? (void *)0x228 : NULL;
    *address = failure == GARBAGE ? (void *)0x228 : failure >= HOLLOW ? broken : NULL;
    if (failure == COMPLAIN) complain(NULL);
    pthread_t own;
    if (failure == ELSEWHERE && pthread_create(&own, NULL, complain, NULL) == 0) pthread_join(own, NULL);
    return failure;
}
#define FAIL_POINTER(method) do { void *bad; if (fails(method, &bad)) return bad; } while (0)
#define FAIL_BOOL(method) do { void *bad; if (fails(method, &bad)) return false; } while (0)

// A function of the fake driver, if that is loaded.
static void *cuda(const char *function) {
    void *library = dlopen("libcuda.so", RTLD_NOLOAD | RTLD_LAZY);
    void *found = library == NULL ? NULL : dlsym(library, function);
    if (library != NULL) dlclose(library);
    return found;
}
// Whether this thread has taken up the device.
static bool is_current(void) {
    int (*ask)(void **) = cuda("cuCtxGetCurrent");
    void *context = NULL;
    return ask == NULL || (ask(&context) == 0 && context != NULL);
}
static bool is_away(void) {
    if (is_current()) return false;
    say(1, "no device is current on this thread");
    return true;
}

// ---- objects: a handle is [table][implementation], a parser just [table] -------------------------

typedef struct Object { Function *table; struct Object *implementation; const char *class; void *data; } Object;
#include "onnx.h"
#define CLASS(name) static Function name##_table[SLOTS];
CLASS(Runtime) CLASS(CudaEngine) CLASS(EngineInspector) CLASS(ExecutionContext) CLASS(Builder) CLASS(BuilderConfig)
CLASS(NetworkDefinition) CLASS(Layer) CLASS(Tensor) CLASS(OptimizationProfile) CLASS(TimingCache) CLASS(HostMemory)
CLASS(Parser) CLASS(ParserError) CLASS(Handle)

static void let_go(Object *context);
static void *make(Function *table, const char *class) {
    Object *handle = calloc(1, sizeof *handle);
    handle->table = Handle_table;
    handle->class = class;
    handle->implementation = calloc(1, sizeof *handle);
    handle->implementation->table = table;
    handle->implementation->class = class;
    alive++;
    return handle;
}
static void Handle_delete(Object *handle) {
    note("~%s", handle->class);
    alive--;
    void *data = handle->implementation->data;
    bool context = strcmp(handle->class, "ExecutionContext") == 0, engine = strcmp(handle->class, "CudaEngine") == 0;
    if ((context || engine) && !is_current()) { fprintf(stderr, "fake TensorRT: %s deleted on a thread without a device\n", handle->class); abort(); }
    if (context) let_go(handle->implementation);
    if (engine || strcmp(handle->class, "NetworkDefinition") == 0) onnx_close(data);
    free(handle->implementation);
    free(handle);
}
static void Parser_delete(Object *parser) {
    note("~Parser");
    alive--;
    free(parser);
}
static void trap(void) { fprintf(stderr, "a slot was called that the headers give to another method\n"); abort(); }

// ---- shapes ------------------------------------------------------------------------------------

static Dims dims(Extent first) { Dims d = {2, {first, 3}}; return d; }
static Dims none(void) { Dims d = {-1, {0}}; return d; }
static void note_dims(const char *method, const char *name, const Dims *d) {
    note("%s %s [%lld, %lld]", method, name, (long long)d->extents[0], (long long)d->extents[1]);
}

static Dims any_shape(const int64_t *shape, size_t axes) {
    Dims d = {(int32_t)axes, {0}};
    for (size_t axis = 0; axis < axes; axis++) d.extents[axis] = (Extent)shape[axis];
    return d;
}
// What a context knows of its next run. Of y = 2x: x is port 0, whose batch is -1 as long as it is open, and y port 1.
typedef struct { Onnx *onnx; int64_t shapes[PORTS][8]; float *at[PORTS]; bool ran; } Run;
static int ports(const Run *run) { return run->onnx != NULL ? run->onnx->count : 2; }
static int port_of(const Run *run, const char *name) {
    return run->onnx != NULL ? onnx_port(run->onnx, name) : strcmp(name, "x") == 0 ? 0 : strcmp(name, "y") == 0 ? 1 : -1;
}
// The driver is told what a context that has run knows the address of.
static void hold(Object *context, int port) {
    void (*hold)(const void *, int, const void *) = cuda("fake_cuda_hold");
    if (hold != NULL) hold(context, port, ((Run *)context->data)->at[port]);
}
static void let_go(Object *context) {
    void (*let_go)(const void *) = cuda("fake_cuda_let_go");
    if (let_go != NULL) let_go(context);
    free(context->data);
}

// ---- runtime, engine, context --------------------------------------------------------------------

static void *Runtime_deserializeCudaEngine(Object *self, const char *plan, size_t size, void *factory) {
    note("deserialize %zu", size);
    if (is_away()) return NULL;
    if (COLUMN == 8 && factory != NULL) abort();
    FAIL_POINTER("deserialize");
    if (size < 8 || memcmp(plan, "FAKEPLAN", 8) != 0) { say(1, "magic tag does not match"); return NULL; }
    Object *engine = make(CudaEngine_table, "CudaEngine");
    if (plan[8] != ' ') {
        char path[4096], *start;
        size_t workspace = strtoul(plan + 9, &start, 10), length = strcspn(++start, "\n"), text = strnlen(plan, size - 1);
        snprintf(path, sizeof path, "%.*s", (int)length, start);
        Onnx *onnx = engine->implementation->data =
            onnx_open(path, plan + text + 1, size - text - 1, plan[8] == 'h', Tensor_table);
        onnx->workspace = workspace;
        snprintf(onnx->profile, sizeof onnx->profile, "%.*s", (int)(plan + text - start - length), start + length);
    }
    return engine;
}
static void *CudaEngine_createExecutionContext(Object *self, int32_t strategy) {
    if (COLUMN != 8 && strategy != ExecutionContextAllocationStrategy_kSTATIC) abort();
    note("context");
    if (is_away()) return NULL;
    FAIL_POINTER("context");
    Object *context = make(ExecutionContext_table, "ExecutionContext");
    Run *run = context->implementation->data = calloc(1, sizeof(Run));
    run->onnx = self->data;
    run->shapes[0][0] = -1;
    return context;
}
static int32_t CudaEngine_getNbOptimizationProfiles(Object *self) { return 1; }
static void *CudaEngine_createEngineInspector(Object *self) {
    FAIL_POINTER("inspector");
    return make(EngineInspector_table, "EngineInspector");
}
static bool known(const char *name) { return strcmp(name, "x") == 0 || strcmp(name, "y") == 0; }
static Dims CudaEngine_getTensorShape(Object *self, const char *name) {
    void *bad;
    Onnx *onnx = self->data;
    if (onnx != NULL) return any_shape(onnx->shapes[onnx_port(onnx, name)], onnx->axes[onnx_port(onnx, name)]);
    return known(name) && !fails("engine shape", &bad) ? dims(-1) : none();
}
static int32_t CudaEngine_getTensorDataType(Object *self, const char *name) {
    void *bad;
    int how = fails("data type", &bad);
    return how == 0 ? DataType_kFLOAT : how == GARBAGE ? 9999 : DataType_kHALF;
}
static int32_t CudaEngine_getTensorIOMode(Object *self, const char *name) {
    void *bad;
    Onnx *onnx = self->data;
    if (onnx != NULL) return onnx_port(onnx, name) < onnx->inputs ? TensorIOMode_kINPUT : TensorIOMode_kOUTPUT;
    if (fails("io mode", &bad)) return TensorIOMode_kNONE;
    return strcmp(name, "x") == 0 ? TensorIOMode_kINPUT : TensorIOMode_kOUTPUT;
}
static Dims CudaEngine_getProfileShape(Object *self, const char *name, int32_t profile, int32_t which) {
    Onnx *onnx = self->data;
    int64_t range[8];
    if (onnx != NULL) return any_shape(range, onnx_range(onnx, name, which, range));
    void *bad;
    if (strcmp(name, "x") != 0 || profile != 0 || fails("profile shape", &bad)) return none();
    return dims(1 << which);
}
static int32_t CudaEngine_getNbIOTensors(Object *self) { return self->data != NULL ? ((Onnx *)self->data)->count : 2; }
static const char *CudaEngine_getIOTensorName(Object *self, int32_t index) {
    FAIL_POINTER("tensor name");
    if (self->data != NULL) return ((Onnx *)self->data)->names[index];
    return index == 0 ? "x" : "y";
}
static const char *EngineInspector_getEngineInformation(Object *self, int32_t format) {
    FAIL_POINTER("information");
    return format == LayerInformationFormat_kJSON ? "{\"Layers\": [{\"Name\": \"double\", \"Precision\": \"FP16\"}]}" : NULL;
}

static bool ExecutionContext_setInputShape(Object *self, const char *name, const Dims *d) {
    note_dims("input shape", name, d);
    FAIL_BOOL("input shape");
    if (is_away()) return false;
    Run *run = self->data;
    if (run->onnx != NULL) {
        int port = onnx_port(run->onnx, name);
        int64_t least[8], most[8]; // in the profile; an input without open extents has none
        size_t open = onnx_range(run->onnx, name, 0, least);
        onnx_range(run->onnx, name, 2, most);
        for (int axis = 0; axis < d->count; axis++) {
            bool outside = open > 0 && (d->extents[axis] < least[axis] || d->extents[axis] > most[axis]);
            if (outside) { say(1, "outside the profile"); return false; }
            run->shapes[port][axis] = d->extents[axis];
        }
        return d->count == (int32_t)run->onnx->axes[port];
    }
    if (d->count != 2 || d->extents[0] < 1 || d->extents[0] > 4) { say(1, "outside the profile"); return false; }
    run->shapes[0][0] = d->extents[0];
    return true;
}
static Dims ExecutionContext_getTensorShape(Object *self, const char *name) {
    void *bad;
    if (fails("context shape", &bad)) return none();
    Run *run = self->data;
    if (run->onnx == NULL) return known(name) ? dims((Extent)run->shapes[0][0]) : none();
    return any_shape(run->shapes[onnx_port(run->onnx, name)], run->onnx->axes[onnx_port(run->onnx, name)]);
}
static bool ExecutionContext_setTensorAddress(Object *self, const char *name, void *address) {
    note("address %s", name);
    FAIL_BOOL("address");
    if (is_away()) return false;
    Run *run = self->data;
    int port = port_of(run, name);
    if (port < 0) return false;
    run->at[port] = address;
    if (run->ran) hold(self, port);
    return true;
}
static int32_t ExecutionContext_inferShapes(Object *self, int32_t room, const char **names) {
    void *bad;
    if (fails("infer", &bad) || is_away()) return -1;
    Run *run = self->data;
    if (run->onnx != NULL) { onnx_run(run->onnx, run->shapes, NULL, 1.0f); return 0; }
    if (run->shapes[0][0] >= 0) return 0;
    void *other;
    if (room > 0) names[0] = fails("missing", &other) ? other : "x";
    return 1;
}
// Of the run as it was when it was enqueued, or recorded: what the context is told later is for later runs.
static void compute(void *with) {
    Run *run = with;
    if (run->onnx == NULL) {
        for (int64_t i = 0; i < run->shapes[0][0] * 3; i++) run->at[1][i] = 2 * run->at[0][i];
        return;
    }
    const char *wrong = getenv("FAKE_TENSORRT_WRONG"), *faint = getenv("FAKE_TENSORRT_FAINT");
    const char *rounded = getenv("FAKE_TENSORRT_HALF_WRONG");
    bool negated = (wrong != NULL && strstr(run->onnx->path, wrong) != NULL) ||
        (rounded != NULL && run->onnx->half && strstr(run->onnx->path, rounded) != NULL);
    bool fainter = faint != NULL && strstr(run->onnx->path, faint) != NULL;
    onnx_run(run->onnx, run->shapes, run->at, negated ? -1.0f : fainter ? 0.75f : 1.0f);
}
// How many MiB of workspace there is memory for: as many as the file says that this names, if there is one by now.
static size_t left(void) {
    const char *file = getenv("FAKE_TENSORRT_LEFT");
    FILE *told = file != NULL ? fopen(file, "r") : NULL;
    size_t mib = SIZE_MAX;
    if (told == NULL) return mib;
    if (fscanf(told, "%zu", &mib) != 1) mib = SIZE_MAX; // it is being written
    fclose(told);
    return mib;
}
static bool ExecutionContext_enqueueV3(Object *self, void *stream) {
    note("enqueue on %p", stream);
    FAIL_BOOL("enqueue");
    if (is_away()) return false;
    static int runs;
    // After so many runs there is no memory for another, until there is again after so many.
    const char *full = getenv("FAKE_TENSORRT_FULL"), *room = getenv("FAKE_TENSORRT_ROOM");
    if (full != NULL && ++runs > atoi(full) && (room == NULL || runs <= atoi(room))) { say(1, "OutOfMemory (requested 1048576 bytes)"); return false; }
    Run *run = self->data;
    if (run->onnx != NULL && run->onnx->workspace > left()) { say(1, "OutOfMemory (requested more than is left)"); return false; }
    run->ran = true;
    for (int port = 0; port < ports(run); port++) hold(self, port);
    void (*enqueue)(void (*)(void *), const void *, size_t, void *) = cuda("fake_cuda_enqueue");
    if (enqueue != NULL) enqueue(compute, run, sizeof *run, stream);
    else compute(run);
    return true;
}

// ---- builder, config, network ----------------------------------------------------------------------

// What the latest config asks for.
static bool half;
static char ranges[4096];
static void *Builder_createBuilderConfig(Object *self) { FAIL_POINTER("config"); half = false; ranges[0] = 0; return make(BuilderConfig_table, "BuilderConfig"); }
static void *Builder_createNetworkV2(Object *self, uint32_t flags) {
    note("network flags %u", flags);
    FAIL_POINTER("network");
    return make(NetworkDefinition_table, "NetworkDefinition");
}
// The builder owns its profiles: one static object, never deleted.
static Object profile_target = {OptimizationProfile_table}, profile = {NULL, &profile_target, "OptimizationProfile"};
static void *Builder_createOptimizationProfile(Object *self) { FAIL_POINTER("new profile"); return &profile; }
static const char *memory_data;
static size_t memory_size, workspace;
static void *host_memory(const char *data, size_t size) {
    memory_data = data;
    memory_size = size;
    return make(HostMemory_table, "HostMemory");
}
static void *Builder_buildSerializedNetwork(Object *self, Object *network, Object *config) {
    if (strcmp(network->class, "NetworkDefinition") != 0 || strcmp(config->class, "BuilderConfig") != 0) abort();
    note("build");
    say(3, "building");
    if (getenv("FAKE_TENSORRT_KILLED")) raise(SIGKILL); // as the kernel ends who takes too much memory
    const char *begun = getenv("FAKE_TENSORRT_ENDLESS"); // where the process tells its number, and goes on
    if (begun != NULL) {
        FILE *file = fopen(begun, "w");
        if (file == NULL || fprintf(file, "%d\n", getpid()) < 0 || fclose(file) != 0) abort();
        for (;;) pause();
    }
    const char *most = getenv("FAKE_TENSORRT_WORKSPACE"); // in MiB; more is out of memory
    if (most != NULL && workspace > (size_t)atoi(most) << 20) { say(1, "OutOfMemory (no details)"); return NULL; }
    const char *lacking = getenv("FAKE_TENSORRT_NO_KERNEL"); // for a node, or "half": for none in half precision; else those that there are want more memory than there is
    Onnx *parsed = network->implementation->data;
    bool typed = parsed != NULL && strstr(parsed->path, "half") != NULL;
    if (lacking != NULL && (strcmp(lacking, "half") != 0 || half || typed)) {
        if (strcmp(lacking, "half") != 0)
            for (int tactic = 0; tactic < 9; tactic++) say(2, "Skipping tactic 0x1 due to insufficient memory on requested size of 9");
        say(1, "Could not find any implementation for node conv");
        return NULL;
    }
    FAIL_POINTER("build");
    if (network->implementation->data != NULL) {
        static char *plan; // a line with the MiB of workspace and the file's place, the ranges, a NUL, and the graph as it was parsed
        Onnx *onnx = network->implementation->data;
        plan = realloc(plan, 9000 + onnx->size);
        int size = snprintf(plan, 9000, "FAKEPLAN%c%zu %s%s\n", half ? 'h' : 's', workspace >> 20, onnx->path, ranges) + 1;
        memcpy(plan + size, onnx->bytes, onnx->size);
        return host_memory(plan, size + onnx->size);
    }
    return host_memory("FAKEPLAN y=2x", 13);
}
static void BuilderConfig_clearFlag(Object *self, int32_t flag) { note("clear flag %d", flag); }
static void BuilderConfig_setFlag(Object *self, int32_t flag) { note("set flag %d", flag); half |= flag == BuilderFlag_kFP16; }
static int32_t BuilderConfig_addOptimizationProfile(Object *self, Object *added) {
    void *bad;
    return added == &profile && !fails("add profile", &bad) ? 0 : -1;
}
static void BuilderConfig_setProfilingVerbosity(Object *self, int32_t verbosity) { note("verbosity %d", verbosity); }
static void *BuilderConfig_createTimingCache(Object *self, const char *bytes, size_t size) {
    note("timing cache %zu", size);
    FAIL_POINTER("timing cache");
    if (size > 0 && strncmp(bytes, "TIMES", 5) != 0) return NULL;
    return make(TimingCache_table, "TimingCache");
}
static bool BuilderConfig_setTimingCache(Object *self, Object *cache, bool ignore) {
    FAIL_BOOL("set timing cache");
    return strcmp(cache->class, "TimingCache") == 0 && !ignore;
}
static void BuilderConfig_setMemoryPoolLimit(Object *self, int32_t pool, size_t size) {
    note("pool %d: %zu", pool, size);
    workspace = size;
}
static void BuilderConfig_setBuilderOptimizationLevel(Object *self, int32_t level) { note("level %d", level); }
static bool BuilderConfig_setNbComputeCapabilities(Object *self, int32_t count) {
    FAIL_BOOL("capability count");
    return count == 1;
}
static bool BuilderConfig_setComputeCapability(Object *self, int32_t capability, int32_t index) {
    note("capability %d", capability);
    FAIL_BOOL("capability");
    return index == 0;
}
static Object x_target = {Tensor_table, NULL, "x"}, y_target = {Tensor_table, NULL, "y"};
static Object x = {NULL, &x_target, "x"}, y = {NULL, &y_target, "y"};
// The layers, each with the result of the one before: a square, say, and its sum (1, 2); a norm between its neighbours in
// the numbers of kinds (4 to 6), which 8.5 lacks.
#define SINCE_8_6(kind) (MAJOR == 8 && MINOR == 5 ? LayerType_kCONCATENATION : (kind))
static const int32_t kinds[] = {
    LayerType_kCONVOLUTION, LayerType_kELEMENTWISE, LayerType_kREDUCE, LayerType_kCONCATENATION,
    SINCE_8_6(LayerType_kREVERSE_SEQUENCE), SINCE_8_6(LayerType_kNORMALIZATION), SINCE_8_6(LayerType_kNORMALIZATION + 1),
    LayerType_kSOFTMAX, LayerType_kCONCATENATION, LayerType_kUNARY,
};
enum { LAYERS = sizeof kinds / sizeof *kinds };
static Object layer_targets[LAYERS], layers[LAYERS], between[LAYERS + 1];
static void connect(void) {
    for (int n = 0; n < LAYERS; n++) {
        layer_targets[n].table = Layer_table;
        layers[n].implementation = &layer_targets[n];
    }
    for (int n = 0; n <= LAYERS; n++) between[n].implementation = &x_target;
}
static int32_t number(Object *layer) { return (int32_t)(layer - layer_targets); }
static int32_t Layer_getType(Object *self) { return kinds[number(self)]; }
static int32_t Layer_getNbInputs(Object *self) { return 2; } // the second is an optional one that is absent
static void *Layer_getInput(Object *self, int32_t index) {
    FAIL_POINTER("layer input");
    return index == 0 ? &between[number(self)] : NULL;
}
static int32_t Layer_getNbOutputs(Object *self) { return 1; }
static void *Layer_getOutput(Object *self, int32_t index) { FAIL_POINTER("layer output"); return &between[number(self) + 1]; }
static void Layer_setPrecision(Object *self, int32_t type) { note("layer %d computes in %d", number(self), type); }
static void Layer_setOutputType(Object *self, int32_t index, int32_t type) { note("layer %d gives %d", number(self), type); }
static int32_t NetworkDefinition_getNbLayers(Object *self) { return LAYERS; }
static void *NetworkDefinition_getLayer(Object *self, int32_t index) { FAIL_POINTER("layer"); return &layers[index]; }
static int32_t NetworkDefinition_getNbInputs(Object *self) { return self->data != NULL ? ((Onnx *)self->data)->inputs : 1; }
static void *NetworkDefinition_getInput(Object *self, int32_t index) {
    FAIL_POINTER("input");
    return self->data != NULL ? &((Onnx *)self->data)->handles[index] : &x;
}
static int32_t NetworkDefinition_getNbOutputs(Object *self) {
    Onnx *onnx = self->data;
    return onnx != NULL ? onnx->count - onnx->inputs : 1;
}
static void *NetworkDefinition_getOutput(Object *self, int32_t index) {
    FAIL_POINTER("output");
    Onnx *onnx = self->data;
    return onnx != NULL ? &onnx->handles[onnx->inputs + index] : &y;
}
static const char *Tensor_getName(Object *self) { FAIL_POINTER("name"); return self->class; }
static Dims Tensor_getDimensions(Object *self) {
    void *bad;
    if (fails("dimensions", &bad)) return none();
    Onnx *onnx = self->data;
    return onnx == NULL ? dims(-1) : any_shape(onnx->shapes[self - onnx->targets], onnx->axes[self - onnx->targets]);
}
static int32_t Tensor_getType(Object *self) { return DataType_kFLOAT; }
#if COLUMN == 8
static bool OptimizationProfile_setDimensions(Object *self, const char *name, int32_t which, Dims value) {
    const Dims *d = &value;
#else
static bool OptimizationProfile_setDimensions(Object *self, const char *name, int32_t which, const Dims *d) {
#endif
    note("profile shape %d", which);
    note_dims("range", name, d);
    FAIL_BOOL("set dimensions");
    size_t used = strlen(ranges);
    used += snprintf(ranges + used, sizeof ranges - used, "\n%s %d", name, which);
    for (int i = 0; i < d->count; i++) used += snprintf(ranges + used, sizeof ranges - used, " %lld", (long long)d->extents[i]);
    return true;
}
static void *TimingCache_serialize(Object *self) { FAIL_POINTER("serialize cache"); return host_memory("TIMES 1", 7); }
static const void *HostMemory_data(Object *self) { FAIL_POINTER("data"); return memory_data; }
static size_t HostMemory_size(Object *self) {
    void *bad;
    int how = fails("size", &bad);
    return how == 0 ? memory_size : how == GARBAGE ? SIZE_MAX : 0;
}

// ---- parser ------------------------------------------------------------------------------------------

static Object parser_error = {ParserError_table};
static bool Parser_parse(Object *self, const char *bytes, size_t size, const char *path) {
    note("parse %zu bytes", size);
    FAIL_BOOL("parse");
    const char *refused = getenv("FAKE_TENSORRT_REFUSES"); // files that hold this word
    if (refused != NULL && memmem(bytes, size, refused, strlen(refused)) != NULL) return false;
    // An ONNX file begins with its version.
    bool real = getenv("FAKE_TENSORRT_ONNXRUNTIME") != NULL && size > 0 && bytes[0] == 8;
    if (real) self->implementation->data = onnx_open(path, bytes, size, false, Tensor_table);
    return size > 0 && path[0] != 0 && bytes[0] != '!';
}
static int32_t Parser_getNbErrors(Object *self) { void *bad; return fails("parse", &bad) == GARBAGE ? 0 : 1; }
static void *Parser_getError(Object *self, int32_t index) { FAIL_POINTER("error"); return index == 0 ? &parser_error : NULL; }
static const char *ParserError_desc(Object *self) {
    FAIL_POINTER("description");
    return "creator && \"Plugin not found\""; // as NVIDIA's tells it
}
static int32_t ParserError_node(Object *self) { return 0; }

// ---- tables and entry points ----------------------------------------------------------------------------

__attribute__((constructor)) static void fill(void) {
    Function *tables[] = {Runtime_table, CudaEngine_table, EngineInspector_table, ExecutionContext_table,
        Builder_table, BuilderConfig_table, NetworkDefinition_table, Layer_table, Tensor_table, OptimizationProfile_table,
        TimingCache_table, HostMemory_table, Parser_table, ParserError_table, Handle_table};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (int slot = 0; slot < SLOTS; slot++) tables[t][slot] = trap;
#define SLOT(class, method, v8, v10, v11) \
    if (PICK(v8, v10, v11) >= 0) class##_table[PICK(v8, v10, v11) < 0 ? 0 : PICK(v8, v10, v11)] = (Function)class##_##method;
#define VALUE(type, name, v8, v10, v11)
#include "slots.def"
    connect();
    (void)Layer_setPrecision, (void)Layer_setOutputType; // gone from 11 on
    if (MAJOR == 8 && MINOR == 5) BuilderConfig_table[51] = trap; // came with 8.6
}

static bool checks(void *given, int32_t version) {
    if (logger == NULL) logger = given;
    if (logger != given) say(2, "The logger passed in differs from one already registered and is ignored");
    note("version %d", version);
    return version == WHOLE;
}
void *createInferRuntime_INTERNAL(void *given, int32_t version) {
    if (!checks(given, version)) return NULL;
    if (strcmp(failing, "no gpu") == 0) { say(1, "CUDA initialization failure with error: 35"); return (void *)0x10000228; }
    FAIL_POINTER("runtime");
    return make(Runtime_table, "Runtime");
}
void *createInferBuilder_INTERNAL(void *given, int32_t version) {
    if (!checks(given, version)) return NULL;
    FAIL_POINTER("builder");
    return make(Builder_table, "Builder");
}
void *createNvOnnxParser_INTERNAL(Object *network, void *given, int32_t version) {
    if (!checks(given, version) || strcmp(network->class, "NetworkDefinition") != 0) return NULL;
    FAIL_POINTER("parser");
    Object *parser = calloc(1, sizeof *parser);
    parser->table = Parser_table;
    parser->implementation = network->implementation;
    alive++;
    return parser;
}
int32_t getInferLibVersion(void) { return WHOLE; }
#if COLUMN != 8
int32_t getInferLibMajorVersion(void) { return MAJOR; }
int32_t getInferLibMinorVersion(void) { return MINOR; }
int32_t getInferLibPatchVersion(void) { return PATCH; }
int32_t getInferLibBuildVersion(void) { return BUILD; }
#endif
