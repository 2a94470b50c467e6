// Real graphs for the fake: what its parser was given is run by ONNX Runtime, on the CPU, through its C interface
// (places in its table of functions, which only grows). FAKE_TENSORRT_ONNXRUNTIME names the library.
#include <dlfcn.h>
#include <math.h>

enum { PORTS = 8, LARGEST = 1 << 22 };

typedef struct {
    char path[4096], profile[4096]; // a line for every shape: name, which, extents
    char *bytes; // the graph
    size_t size;
    size_t workspace; // in MiB, of the plan that it is of
    bool half; // numbers are rounded as half precision would
    void *session;
    int inputs, count; // the inputs come first
    char *names[PORTS];
    int64_t shapes[PORTS][8];
    size_t axes[PORTS];
    Object targets[PORTS], handles[PORTS];
} Onnx;

static void *const *ort; // OrtApi
static void *environment, *memory_information, *allocator;
#define ORT(place, ...) ((void *(*)(__VA_ARGS__))ort[place])
static void sure(void *status) {
    if (status == NULL) return;
    fprintf(stderr, "fake TensorRT: %s\n", ((const char *(*)(void *))ort[2])(status));
    abort();
}

static void start_onnxruntime(void) {
    if (ort != NULL) return;
    void *library = dlopen(getenv("FAKE_TENSORRT_ONNXRUNTIME"), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) { fprintf(stderr, "fake TensorRT: %s\n", dlerror()); abort(); }
    struct { void *const *(*api)(uint32_t); } *base = ((void *(*)(void))dlsym(library, "OrtGetApiBase"))();
    ort = base->api(17);
    sure(ORT(3, int, const char *, void **)(3, "fake", &environment));
    sure(ORT(69, int, int, void **)(0, 0, &memory_information));
    sure(ORT(78, void **)(&allocator));
}

static void describe(Onnx *onnx, int port, Function *table) {
    bool input = port < onnx->inputs;
    size_t index = input ? port : port - onnx->inputs;
    void *type;
    const void *tensor;
    sure(ORT(input ? 36 : 37, void *, size_t, void *, char **)(onnx->session, index, allocator, &onnx->names[port]));
    sure(ORT(input ? 33 : 34, void *, size_t, void **)(onnx->session, index, &type));
    sure(ORT(55, void *, const void **)(type, &tensor));
    sure(ORT(61, const void *, size_t *)(tensor, &onnx->axes[port]));
    sure(ORT(62, const void *, int64_t *, size_t)(tensor, onnx->shapes[port], onnx->axes[port]));
    onnx->targets[port] = (Object){.table = table, .class = onnx->names[port], .data = onnx};
    onnx->handles[port] = (Object){.implementation = &onnx->targets[port]};
    ((void (*)(void *))ort[98])(type);
}

// Belongs to the network that was parsed, or to the engine that was loaded.
static Onnx *onnx_open(const char *path, const char *bytes, size_t size, bool half, Function *tensors) {
    start_onnxruntime();
    Onnx *onnx = calloc(1, sizeof *onnx);
    char folder[4096];
    snprintf(onnx->path, sizeof onnx->path, "%s", path);
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') != NULL ? strrchr(path, '/') - path : 0), path);
    onnx->bytes = memcpy(malloc(size), bytes, size);
    onnx->size = size;
    onnx->half = half;
    void *options;
    size_t inputs, outputs;
    sure(ORT(10, void **)(&options));
    sure(ORT(24, void *, int)(options, 1));
    sure(ORT(130, void *, const char *, const char *)(options, "session.disable_quant_qdq", "1")); // as the CPU engine
    sure(ORT(130, void *, const char *, const char *)(options, "session.model_external_initializers_file_folder_path", folder));
    sure(ORT(8, void *, const void *, size_t, void *, void **)(environment, bytes, size, options, &onnx->session));
    sure(ORT(30, void *, size_t *)(onnx->session, &inputs));
    sure(ORT(31, void *, size_t *)(onnx->session, &outputs));
    onnx->inputs = (int)inputs;
    onnx->count = (int)(inputs + outputs);
    ((void (*)(void *))ort[100])(options);
    for (int port = 0; port < onnx->count; port++) describe(onnx, port, tensors);
    return onnx;
}

static void onnx_close(Onnx *onnx) {
    if (onnx == NULL) return;
    for (int port = 0; port < onnx->count; port++) sure(ORT(76, void *, void *)(allocator, onnx->names[port]));
    ((void (*)(void *))ort[95])(onnx->session);
    free(onnx->bytes);
    free(onnx);
}

static int onnx_port(Onnx *onnx, const char *name) {
    for (int port = 0; port < onnx->count; port++) if (strcmp(onnx->names[port], name) == 0) return port;
    return -1;
}

// The shape `which` (smallest, usual, largest) of an input in the profile.
static size_t onnx_range(Onnx *onnx, const char *name, int which, int64_t *shape) {
    char start[256];
    snprintf(start, sizeof start, "\n%s %d", name, which);
    const char *line = strstr(onnx->profile, start);
    size_t axes = 0;
    char *at = line == NULL ? "" : (char *)line + strlen(start);
    while (*at == ' ' && axes < 8) shape[axes++] = strtoll(at, &at, 10);
    return axes;
}

static size_t numbers(const int64_t *shape, size_t axes) {
    size_t count = 1;
    for (size_t axis = 0; axis < axes; axis++) count *= (size_t)shape[axis];
    return count;
}

// As half precision holds it: 11 significant bits, nothing above 65504.
static float halved(float value) {
    float scaled = value * 8193.0f, rounded = scaled - (scaled - value);
    return fabsf(rounded) > 65504.0f ? copysignf(INFINITY, value) : rounded;
}

// Runs the graph on inputs of these shapes; fills in the shapes of the outputs, and the outputs times
// `factor` where there is room.
static void onnx_run(Onnx *onnx, int64_t shapes[][8], float *at[], float factor) {
    void *values[PORTS] = {NULL};
    float *zeros = NULL;
    for (int port = 0; port < onnx->inputs; port++) {
        size_t count = numbers(shapes[port], onnx->axes[port]);
        float *data = at != NULL ? at[port] : zeros != NULL ? zeros : (zeros = calloc(LARGEST, sizeof(float)));
        sure(ORT(49, void *, void *, size_t, const int64_t *, size_t, int, void **)(memory_information, data,
            count * sizeof(float), shapes[port], onnx->axes[port], 1, &values[port]));
    }
    sure(ORT(9, void *, void *, char **, void **, size_t, char **, size_t, void **)(onnx->session, NULL, onnx->names,
        values, onnx->inputs, onnx->names + onnx->inputs, onnx->count - onnx->inputs, values + onnx->inputs));
    for (int port = onnx->inputs; port < onnx->count; port++) {
        void *shape;
        float *data;
        sure(ORT(65, void *, void **)(values[port], &shape));
        sure(ORT(62, const void *, int64_t *, size_t)(shape, shapes[port], onnx->axes[port]));
        ((void (*)(void *))ort[99])(shape);
        sure(ORT(51, void *, float **)(values[port], &data));
        size_t count = at == NULL ? 0 : numbers(shapes[port], onnx->axes[port]);
        for (size_t i = 0; i < count; i++) at[port][i] = factor * (onnx->half ? halved(data[i]) : data[i]);
    }
    for (int port = 0; port < onnx->count; port++) ((void (*)(void *))ort[96])(values[port]);
    free(zeros);
}
