// A stand-in for libcuda: one device whose memory is the CPU's and whose streams do nothing until somebody waits for
// them, or for an event of theirs: what a program forgets to wait for has not happened yet. A thread that has not taken up
// the device can do nothing with it. The kernel is its source, compiled here. Leaked or doubly freed memory, and memory
// that is freed while a context of TensorRT still knows its address, end the process with a message.
// FAKE_CUDA_SCHEDULE: a number; streams then run on by themselves as well, by chance, as far as they may.
// FAKE_CUDA_DEAD: every call fails after so many of those that a frame takes.
// FAKE_CUDA_INTEGRATED: the GPU shares the host's memory, as on a Jetson, and refuses to copy. FAKE_CUDA_LOST: after that many
// waits for a stream every call fails. FAKE_CUDA_NO_GRAPHS: recorded work cannot be made ready
// so many times. FAKE_CUDA_NO_KERNELS: the driver takes no
// kernel. FAKE_CUDA_AWAY: there is no device. FAKE_CUDA_FULL: after so many allocations there is no memory on the device;
// FAKE_CUDA_ROOM: after so many of them there is again.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int Result;
enum { SUCCESS = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, UNSUPPORTED_PTX = 222, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719 };
static int blocks, allocations, waits, blocking_waits;
static __thread int current; // whether this thread has taken up the device
int fake_cuda_allocations(void) { return allocations; }
int fake_cuda_blocking_waits(void) { return blocking_waits; }

__attribute__((destructor)) static void balance(void) {
    if (blocks != 0) { fprintf(stderr, "fake CUDA: %d blocks of memory were not freed\n", blocks); _Exit(70); }
}
static Result lost(void) {
    static int calls;
    const char *dead = getenv("FAKE_CUDA_DEAD"), *after = getenv("FAKE_CUDA_LOST");
    if (dead != NULL && calls++ >= atoi(dead)) return LAUNCH_FAILED;
    return after != NULL && waits > atoi(after) ? LAUNCH_FAILED : SUCCESS;
}
#define UNLESS_LOST if (lost() != SUCCESS) return LAUNCH_FAILED
#define UNLESS_AWAY if (!current) return INVALID_CONTEXT

// ---- device and memory ----------------------------------------------------------------------------------

Result cuInit(unsigned flags) { return getenv("FAKE_CUDA_AWAY") ? NO_DEVICE : SUCCESS; }
Result cuDriverGetVersion(int *version) { *version = 12060; return SUCCESS; }
Result cuGetErrorString(Result error, const char **text) {
    *text = error == LAUNCH_FAILED ? "unspecified launch failure" : error == UNSUPPORTED_PTX ? "unsupported PTX" : "invalid argument";
    return SUCCESS;
}
Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? SUCCESS : INVALID; }
Result cuDeviceGetName(char *name, int room, int device) { snprintf(name, room, "Orin"); return SUCCESS; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 18 ? getenv("FAKE_CUDA_INTEGRATED") != NULL : attribute == 75 ? 8 : attribute == 76 ? 7 : 0;
    return SUCCESS;
}
static unsigned scheduling;
Result cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) { scheduling = flags; return SUCCESS; }
Result cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &blocks;
    return scheduling == 4 /* threads that wait sleep */ ? SUCCESS : INVALID;
}
Result cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
Result cuCtxGetCurrent(void **context) { *context = current ? &blocks : NULL; return SUCCESS; }
Result cuCtxSetCurrent(void *context) { current = context != NULL; return SUCCESS; }
Result cuCtxSynchronize(void) { UNLESS_AWAY; return SUCCESS; } // before the first stream
// What was allocated, and where; of the host's memory that it is.
static struct { char *at; size_t size; int is_host; } places[4096];
enum { PLACES = sizeof places / sizeof *places };
static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;
static int place_of(const void *address) {
    for (int i = 0; i < PLACES; i++)
        if (places[i].at != NULL && (char *)address >= places[i].at && (char *)address < places[i].at + places[i].size) return i;
    return PLACES;
}
static Result allocate(void **block, size_t size) {
    *block = malloc(size);
    memset(*block, 0xff, size); // NaN
    pthread_mutex_lock(&taking);
    int free = 0;
    while (free < PLACES && places[free].at != NULL) free++;
    if (free == PLACES) abort();
    places[free].at = *block, places[free].size = size, places[free].is_host = 0;
    pthread_mutex_unlock(&taking);
    blocks++;
    allocations++;
    return SUCCESS;
}
// What TensorRT's contexts read and write, since they ran last.
static struct { const void *holder; int port; const void *block; } held[256];
enum { HELD = sizeof held / sizeof *held };
void fake_cuda_hold(const void *holder, int port, const void *block) {
    int place = HELD;
    for (int i = HELD - 1; i >= 0; i--)
        if (held[i].holder == NULL && place == HELD) place = i;
    for (int i = 0; i < HELD; i++)
        if (held[i].holder == holder && held[i].port == port) place = i;
    if (place == HELD) abort();
    held[place].holder = holder, held[place].port = port, held[place].block = block;
}
void fake_cuda_let_go(const void *holder) {
    for (int i = 0; i < HELD; i++)
        if (held[i].holder == holder) held[i].holder = NULL;
}
static int clearings;
int fake_cuda_clearings(void) { return clearings; }
static void unless_awaited(const void *block);
static Result release(void *block) {
    unless_awaited(block);
    pthread_mutex_lock(&taking);
    places[place_of(block)].at = NULL;
    pthread_mutex_unlock(&taking);
    for (int i = 0; i < HELD; i++)
        if (held[i].holder != NULL && held[i].block == block) { fprintf(stderr, "fake CUDA: a context still uses memory that is freed\n"); _Exit(72); }
    free(block);
    blocks--;
    return SUCCESS;
}
static int host_is_full;
void fake_cuda_fill_host(void) { host_is_full = 1; }
Result cuMemHostAlloc(void **block, size_t size, unsigned flags) {
    UNLESS_AWAY;
    if (host_is_full) return OUT_OF_MEMORY;
    if (flags != 3 /* portable, mapped, not write-combined */) return INVALID;
    allocate(block, size);
    places[place_of(*block)].is_host = 1;
    return SUCCESS;
}
Result cuMemFreeHost(void *block) { UNLESS_AWAY; return release(block); }
Result cuMemHostGetDevicePointer_v2(uint64_t *address, void *block, unsigned flags) { UNLESS_AWAY; *address = (uint64_t)block; return SUCCESS; }
Result cuMemAlloc_v2(uint64_t *address, size_t size) {
    UNLESS_AWAY;
    static int taken;
    const char *full = getenv("FAKE_CUDA_FULL"), *room = getenv("FAKE_CUDA_ROOM");
    int before = taken++;
    if (full != NULL && before >= atoi(full) && (room == NULL || before < atoi(room))) return OUT_OF_MEMORY;
    return allocate((void **)address, size);
}
Result cuMemFree_v2(uint64_t address) { UNLESS_AWAY; return release((void *)address); }

// ---- the kernel -------------------------------------------------------------------------------------------

typedef struct { unsigned x, y, z; } Place;
static Place blockIdx, threadIdx, blockDim;
#define __global__ static
#include "kernels.cu"
typedef struct { Place grid, block; const void *from; float *to; struct Layout layout; int count; } Launch;
static void launch(const Launch *launch) {
    blockDim = launch->block;
    for (blockIdx.y = 0; blockIdx.y < launch->grid.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < launch->grid.x; blockIdx.x++)
            for (threadIdx.y = 0; threadIdx.y < blockDim.y; threadIdx.y++)
                for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
                    if (launch->count == 0) lay_picture(launch->from, launch->to, launch->layout);
                    else copy_numbers(launch->from, launch->to, launch->count);
}
Result cuModuleLoadData(void **module, const char *image) {
    UNLESS_AWAY;
    if (getenv("FAKE_CUDA_NO_KERNELS")) return UNSUPPORTED_PTX;
    if (strstr(image, ".target sm_53") == NULL || strstr(image, ".entry lay_picture(") == NULL || strstr(image, ".entry copy_numbers(") == NULL) return INVALID;
    return allocate(module, 2);
}
Result cuModuleUnload(void *module) { UNLESS_AWAY; return release(module); }
Result cuModuleGetFunction(void **function, void *module, const char *name) {
    UNLESS_AWAY;
    *function = (char *)module + (strcmp(name, "copy_numbers") == 0);
    return strcmp(name, "lay_picture") == 0 || strcmp(name, "copy_numbers") == 0 ? SUCCESS : NOT_FOUND;
}

// ---- streams and events ---------------------------------------------------------------------------------------

typedef struct Stream Stream;
typedef struct { struct timespec at; Stream *stream; long place; } Event;
// Work of the fake TensorRT with what it was told at the time; the steps that do it own it together.
typedef struct { void (*work)(void *); long owners; char with[]; } Work;
typedef struct {
    enum { WORK, COPY, KERNEL, RECORD, AWAIT } kind;
    Work *work;
    void *to;
    const void *from;
    size_t size;
    Launch launch;
    Event *event;
    Stream *other; // that is waited for, up to `place`
    long place;
} Step;
typedef struct { int count; Step steps[64]; } Graph;
enum { ROOM = 512 };
struct Stream { long done, count; Graph *recording; Stream *next; Step steps[ROOM]; };

static void own(Step *step) { if (step->kind == WORK) step->work->owners++; }
static void disown(Step *step) { if (step->kind == WORK && --step->work->owners == 0) free(step->work); }
static void drain(Stream *stream, long until) {
    while (stream->done < until) {
        Step *step = &stream->steps[stream->done++ % ROOM];
        switch (step->kind) {
        case WORK: step->work->work(step->work->with); break;
        case COPY: memcpy(step->to, step->from, step->size); break;
        case KERNEL: launch(&step->launch); break;
        case RECORD: clock_gettime(CLOCK_MONOTONIC, &step->event->at); break;
        case AWAIT: drain(step->other, step->place); break;
        }
        disown(step);
    }
}
static Stream *streams[64];
static void run_on(void) {
    static uint64_t chance;
    const char *schedule = getenv("FAKE_CUDA_SCHEDULE");
    if (schedule == NULL) return;
    if (chance == 0) chance = strtoull(schedule, NULL, 10) + 1;
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    Stream *stream = streams[chance >> 58];
    if (stream != NULL) drain(stream, stream->done + (chance >> 40) % (stream->count - stream->done + 1));
}
static Result enqueue(Stream *stream, Step step) {
    UNLESS_LOST;
    for (int i = 0; i < 16; i++) run_on();
    Graph *graph = stream->recording;
    if (graph != NULL && (step.kind == RECORD || step.kind == AWAIT || graph->count == 64)) return INVALID;
    if (graph != NULL) graph->steps[graph->count++] = step;
    else if (stream->count - stream->done == ROOM) return OUT_OF_MEMORY;
    else stream->steps[stream->count++ % ROOM] = step;
    own(&step);
    return SUCCESS;
}
// Memory that work still to be done reads or writes may not be freed.
static void unless_awaited(const void *block) {
    int place = place_of(block);
    if (place == PLACES) abort();
    for (int i = 0; i < 64; i++)
        for (long n = streams[i] == NULL ? 0 : streams[i]->done; streams[i] != NULL && n < streams[i]->count; n++) {
            const Step *step = &streams[i]->steps[n % ROOM];
            const void *ends[2] = {step->kind == KERNEL ? step->launch.from : step->from, step->kind == KERNEL ? step->launch.to : step->to};
            if (step->kind != COPY && step->kind != KERNEL) continue;
            for (int end = 0; end < 2; end++)
                if (place_of(ends[end]) == place && lost() == SUCCESS) { fprintf(stderr, "fake CUDA: memory is freed that work under way needs\n"); _Exit(73); }
        }
}
static Result await(Stream *stream, long until) {
    blocking_waits += stream->done < until;
    UNLESS_LOST;
    drain(stream, until);
    return SUCCESS;
}
Result cuStreamCreate(Stream **stream, unsigned flags) {
    UNLESS_AWAY;
    if (flags != 1 /* not blocked by the default stream */) return INVALID;
    *stream = calloc(1, sizeof(Stream));
    blocks++;
    for (int i = 0; i < 64; i++)
        if (streams[i] == NULL) { streams[i] = *stream; break; }
    return SUCCESS;
}
Result cuStreamDestroy_v2(Stream *stream) {
    UNLESS_AWAY;
    if (stream->done < stream->count && lost() == SUCCESS) { fprintf(stderr, "fake CUDA: a stream was left at work\n"); _Exit(71); }
    for (int i = 0; i < 64; i++)
        if (streams[i] == stream) streams[i] = NULL;
    while (stream->done < stream->count) disown(&stream->steps[stream->done++ % ROOM]);
    // Events that were recorded in it, and other streams that wait for them, outlive it.
    static Stream *ended;
    stream->next = ended;
    ended = stream;
    blocks--;
    return SUCCESS;
}
Result cuStreamSynchronize(Stream *stream) { UNLESS_AWAY; waits++; return await(stream, stream->count); }
Result cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
    UNLESS_AWAY;
    if (event->stream == NULL) return SUCCESS;
    return enqueue(stream, (Step){.kind = AWAIT, .other = event->stream, .place = event->place});
}
Result cuEventCreate(Event **event, unsigned flags) {
    UNLESS_AWAY;
    if (flags != 1 /* with its time; threads that wait for it sleep */) return INVALID;
    allocate((void **)event, sizeof(Event));
    (*event)->stream = NULL;
    return SUCCESS;
}
Result cuEventDestroy_v2(Event *event) { UNLESS_AWAY; return release(event); }
Result cuEventRecord(Event *event, Stream *stream) {
    UNLESS_AWAY;
    Result enqueued = enqueue(stream, (Step){.kind = RECORD, .event = event});
    if (enqueued == SUCCESS) { event->stream = stream; event->place = stream->count; }
    return enqueued;
}
Result cuEventSynchronize(Event *event) {
    UNLESS_AWAY;
    return event->stream == NULL ? SUCCESS : await(event->stream, event->place);
}
Result cuEventQuery(const Event *event) {
    UNLESS_AWAY;
    UNLESS_LOST;
    return event->stream == NULL || event->stream->done >= event->place ? SUCCESS : NOT_READY;
}
Result cuEventElapsedTime(float *milliseconds, const Event *start, const Event *stop) {
    UNLESS_AWAY;
    UNLESS_LOST;
    if (start->stream == NULL || stop->stream == NULL) return INVALID;
    if (start->stream->done < start->place || stop->stream->done < stop->place) return NOT_READY;
    *milliseconds = (stop->at.tv_sec - start->at.tv_sec) * 1e3f + (stop->at.tv_nsec - start->at.tv_nsec) / 1e6f;
    return SUCCESS;
}

// ---- work ---------------------------------------------------------------------------------------------------

// The fake TensorRT's kernels: `work` is done later, or again and again if it is recorded, with what `with` holds now.
void fake_cuda_enqueue(void (*work)(void *), const void *with, size_t size, Stream *stream) {
    Step step = {.kind = WORK, .work = malloc(sizeof(Work) + size)};
    step.work->work = work;
    step.work->owners = 1;
    memcpy(step.work->with, with, size);
    enqueue(stream, step);
    disown(&step);
}
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, Stream *stream) {
    UNLESS_AWAY;
    if (getenv("FAKE_CUDA_INTEGRATED")) return INVALID; // what both see needs no copy
    return enqueue(stream, (Step){.kind = COPY, .to = (void *)to, .from = from, .size = size});
}
Result cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, Stream *stream) {
    UNLESS_AWAY;
    if (getenv("FAKE_CUDA_INTEGRATED")) return INVALID;
    return enqueue(stream, (Step){.kind = COPY, .to = to, .from = (void *)from, .size = size});
}
static int copies;
int fake_cuda_copies(void) { return copies; }
Result cuMemcpyAsync(uint64_t to, uint64_t from, size_t size, Stream *stream) {
    UNLESS_AWAY;
    copies++;
    Result enqueued = enqueue(stream, (Step){.kind = COPY, .to = (void *)to, .from = (void *)from, .size = size});
    // Between two places in the host's memory the host waits.
    int is_host = places[place_of((void *)to)].is_host && places[place_of((void *)from)].is_host;
    return enqueued == SUCCESS && is_host ? await(stream, stream->count) : enqueued;
}
Result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, Stream *stream, void **arguments, void **extra) {
    UNLESS_AWAY;
    if (gz != 1 || bz != 1 || bx * by > 1024 || shared != 0 || extra != NULL) return INVALID;
    Launch launch = {.grid = {gx, gy, 1}, .block = {bx, by, 1}, .from = *(void **)arguments[0], .to = *(void **)arguments[1]};
    if (function != places[place_of(function)].at) launch.count = *(int *)arguments[2], copies++;
    else launch.layout = *(struct Layout *)arguments[2];
    return enqueue(stream, (Step){.kind = KERNEL, .launch = launch});
}

Result cuMemsetD8Async(uint64_t at, unsigned char value, size_t size, Stream *stream) {
    UNLESS_AWAY;
    static char zeros[1 << 24];
    if (value != 0 || size > sizeof zeros) return INVALID;
    clearings++;
    return enqueue(stream, (Step){.kind = COPY, .to = (void *)at, .from = zeros, .size = size});
}

static int launches;
int fake_cuda_launches(void) { return launches; }
Result cuStreamBeginCapture_v2(Stream *stream, int mode) {
    UNLESS_AWAY;
    UNLESS_LOST;
    Result made = allocate((void **)&stream->recording, sizeof(Graph));
    stream->recording->count = 0;
    return made;
}
Result cuStreamEndCapture(Stream *stream, Graph **graph) { UNLESS_AWAY; *graph = stream->recording; stream->recording = NULL; return SUCCESS; }
Result cuGraphInstantiateWithFlags(Graph **ready, const Graph *graph, uint64_t flags) {
    UNLESS_AWAY;
    static int tries;
    const char *refused = getenv("FAKE_CUDA_NO_GRAPHS");
    if (refused != NULL && tries++ < atoi(refused)) return INVALID;
    Result made = allocate((void **)ready, sizeof(Graph));
    **ready = *graph;
    for (int i = 0; i < graph->count; i++) own(&(*ready)->steps[i]);
    return made;
}
Result cuGraphLaunch(const Graph *graph, Stream *stream) {
    UNLESS_AWAY;
    launches++;
    for (int i = 0; i < graph->count; i++)
        if (enqueue(stream, graph->steps[i]) != SUCCESS) return LAUNCH_FAILED;
    return SUCCESS;
}
static Result forget(Graph *graph) {
    for (int i = 0; i < graph->count; i++) disown(&graph->steps[i]);
    return release(graph);
}
Result cuGraphDestroy(Graph *graph) { UNLESS_AWAY; return forget(graph); }
Result cuGraphExecDestroy(Graph *graph) { UNLESS_AWAY; return forget(graph); }
