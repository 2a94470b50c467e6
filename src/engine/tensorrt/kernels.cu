// What the GPU runs of our own. kernels.ptx is this file as `make kernel` compiles it; the driver makes it into code for the GPU at hand. The tests
// compile it as C and hold it against the CPU's way, so it may use nothing but C and a thread's place.

struct Layout {
    int width, height;                 // of the input
    int picture_width, picture_height; // of the picture in it
    int left, top;                     // padding before the picture
    int channels[3];                   // which of red, green and blue each plane holds
    float mean[3], deviation[3];       // of each plane
};

#ifdef __cplusplus
extern "C" {
#endif

// A picture becomes the image graph's input: letterboxed, normalised, planes first; one thread per pixel of the input.
__global__ void lay_picture(const unsigned char *rgb, float *input, struct Layout layout) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= layout.width || y >= layout.height) return;
    int column = x - layout.left, row = y - layout.top;
    int inside = column >= 0 && column < layout.picture_width && row >= 0 && row < layout.picture_height;
    const unsigned char *pixel = rgb + 3 * (row * layout.picture_width + column);
#pragma unroll
    for (int plane = 0; plane < 3; plane++) {
        float value = 0.0f;
        if (inside) value = ((float)pixel[layout.channels[plane]] - layout.mean[plane]) / layout.deviation[plane];
        input[(plane * layout.height + y) * layout.width + x] = value;
    }
}

// Numbers go from one place to another; one thread each. The driver's own copy between two places in the host's memory would
// have the host wait.
__global__ void copy_numbers(const float *from, float *to, int count) {
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n < count) to[n] = from[n];
}

#ifdef __cplusplus
}
#endif
