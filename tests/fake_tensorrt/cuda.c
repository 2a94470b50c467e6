// A stand-in for libcuda: one device whose memory is the CPU's and whose streams work at once.
// FAKE_CUDA_INTEGRATED: the GPU shares the host's memory, as on a Jetson. FAKE_CUDA_LOST: every wait
// fails from that many waits on. FAKE_CUDA_NO_GRAPHS: recorded work cannot be made ready. Leaked or doubly freed memory ends the process with a message.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int Result;
enum { SUCCESS = 0, INVALID = 1, OUT_OF_MEMORY = 2, LAUNCH_FAILED = 719 };
static int blocks, waits, current;

__attribute__((destructor)) static void balance(void) {
    if (blocks != 0) { fprintf(stderr, "fake CUDA: %d blocks of memory were not freed\n", blocks); _Exit(70); }
}

Result cuInit(unsigned flags) { return SUCCESS; }
Result cuDriverGetVersion(int *version) { *version = 12060; return SUCCESS; }
Result cuGetErrorString(Result error, const char **text) {
    *text = error == LAUNCH_FAILED ? "unspecified launch failure" : "invalid argument";
    return SUCCESS;
}
Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? SUCCESS : INVALID; }
Result cuDeviceGetName(char *name, int room, int device) { snprintf(name, room, "Orin"); return SUCCESS; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 18 ? getenv("FAKE_CUDA_INTEGRATED") != NULL : attribute == 75 ? 8 : attribute == 76 ? 7 : 0;
    return SUCCESS;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) { *context = &blocks; return SUCCESS; }
Result cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
Result cuCtxGetCurrent(void **context) { *context = current ? &blocks : NULL; return SUCCESS; }
Result cuCtxSetCurrent(void *context) { current = context != NULL; return SUCCESS; }
Result cuCtxSynchronize(void) { return SUCCESS; }
Result cuStreamCreate(void **stream, unsigned flags) { *stream = &waits; return SUCCESS; }
Result cuStreamDestroy_v2(void *stream) { return SUCCESS; }
Result cuStreamSynchronize(void *stream) {
    const char *lost = getenv("FAKE_CUDA_LOST");
    return lost != NULL && ++waits > atoi(lost) ? LAUNCH_FAILED : SUCCESS;
}
static Result allocate(void **block, size_t size);
static Result release(void *block);
Result cuEventCreate(void **event, unsigned flags) { return flags == 0 ? allocate(event, sizeof(struct timespec)) : INVALID; }
Result cuEventDestroy_v2(void *event) { return release(event); }
Result cuEventRecord(void *event, void *stream) { clock_gettime(CLOCK_MONOTONIC, event); return SUCCESS; }
Result cuEventSynchronize(void *event) { return SUCCESS; }
Result cuEventElapsedTime(float *milliseconds, struct timespec *start, struct timespec *stop) {
    *milliseconds = (stop->tv_sec - start->tv_sec) * 1e3f + (stop->tv_nsec - start->tv_nsec) / 1e6f;
    return SUCCESS;
}
static Result allocate(void **block, size_t size) {
    *block = malloc(size);
    memset(*block, 0xff, size); // NaN
    blocks++;
    return SUCCESS;
}
static Result release(void *block) { free(block); blocks--; return SUCCESS; }
Result cuMemHostAlloc(void **block, size_t size, unsigned flags) {
    return flags == 3 /* portable, mapped, not write-combined */ ? allocate(block, size) : INVALID;
}
Result cuMemFreeHost(void *block) { return release(block); }
Result cuMemHostGetDevicePointer_v2(uint64_t *address, void *block, unsigned flags) { *address = (uint64_t)block; return SUCCESS; }
Result cuMemAlloc_v2(uint64_t *address, size_t size) {
    if (getenv("FAKE_CUDA_FULL")) return OUT_OF_MEMORY;
    return allocate((void **)address, size);
}
Result cuMemFree_v2(uint64_t address) { return release((void *)address); }

// ---- work: done at once, or recorded while a stream is captured, and then done when the graph is launched --

typedef struct { void (*work)(void *); void *to; const void *from; size_t size; } Step;
typedef struct { int count; Step steps[64]; } Graph;
static Graph *capturing;
static int launches;
int fake_cuda_launches(void) { return launches; }

static void take(Step step) {
    if (step.work != NULL) step.work(step.to);
    else memcpy(step.to, step.from, step.size);
}
static Result enqueue(Step step) {
    if (capturing == NULL) take(step);
    else if (capturing->count == 64) return INVALID;
    else capturing->steps[capturing->count++] = step;
    return SUCCESS;
}
// The fake TensorRT's kernels.
void fake_cuda_enqueue(void (*work)(void *), void *with) { enqueue((Step){.work = work, .to = with}); }
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    return enqueue((Step){NULL, (void *)to, from, size});
}
Result cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    return enqueue((Step){NULL, to, (void *)from, size});
}

Result cuStreamBeginCapture_v2(void *stream, int mode) {
    Result made = allocate((void **)&capturing, sizeof(Graph));
    capturing->count = 0;
    return made;
}
Result cuStreamEndCapture(void *stream, Graph **graph) { *graph = capturing; capturing = NULL; return SUCCESS; }
Result cuGraphInstantiateWithFlags(Graph **ready, const Graph *graph, uint64_t flags) {
    if (getenv("FAKE_CUDA_NO_GRAPHS")) return INVALID;
    Result made = allocate((void **)ready, sizeof(Graph));
    **ready = *graph;
    return made;
}
Result cuGraphLaunch(Graph *graph, void *stream) {
    for (int i = 0; i < graph->count; i++) take(graph->steps[i]);
    launches++;
    return SUCCESS;
}
Result cuGraphDestroy(Graph *graph) { return release(graph); }
Result cuGraphExecDestroy(Graph *graph) { return release(graph); }
