// A sound card for tests, as ALSA's own external plug-in: it keeps real time on CLOCK_MONOTONIC, and overruns.
//
// Channel 0 holds a click of 2 ms whenever the monotonic clock passes a quarter of a second, or, of a card with a "file", its samples
// (S16, at the card's rate) again and again; the other channels are silent, and no numbers at all in the float format. While the
// file of TVSL_TEST_UNPLUGGED is there, the card takes no more sound and does not open; if the file says "pulled", whoever reads the card
// is told at once. The file of TVSL_TEST_RATE, if it is there, holds another rate for it. That of
// TVSL_TEST_HANGS makes its opening hang while it is there, as a driver does that waits for its device; that of
// TVSL_TEST_READ_HANGS whoever reads it, as a sound server does that has stopped. That of
// TVSL_TEST_SOUND holds what is wrong with the sound: "silent", "loud", "late" (every two seconds whoever takes it is held up for
// longer than the card waits), "busy" (the same each time) or "hollow" (it is said to be there, and no more of it ever is; how often
// that was said is the length of the file of TVSL_TEST_SAID).
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef struct {
	snd_pcm_ioplug_t io;
	int64_t start; // nanoseconds at which frame 0 is taken
	int64_t held;  // and at which somebody was held up
	const int16_t *scene; // what it plays in place of clicks
	int64_t length;       // samples of it
} card_t;

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int is_there(const char *variable) {
	const char *file = getenv(variable);
	return file && access(file, F_OK) == 0;
}

static int unplugged(void) {
	return is_there("TVSL_TEST_UNPLUGGED");
}

static long rate_now(long rate) {
	const char *name = getenv("TVSL_TEST_RATE");
	FILE *file = name ? fopen(name, "r") : NULL;
	if (file) {
		if (fscanf(file, "%ld", &rate) != 1)
			rate = 0;
		fclose(file);
	}
	return rate;
}

// Whether the file of a variable is there and begins with this word.
static int says(const char *variable, const char *wanted) {
	const char *name = getenv(variable);
	FILE *file = name ? fopen(name, "r") : NULL;
	char word[16] = "";
	if (file) {
		if (fscanf(file, "%15s", word) != 1)
			word[0] = 0;
		fclose(file);
	}
	return !strcmp(word, wanted);
}

static int sounds(const char *fault) {
	return says("TVSL_TEST_SOUND", fault);
}

static int pulled(void) {
	return says("TVSL_TEST_UNPLUGGED", "pulled");
}

// ALSA makes an overrun of all that goes wrong while a plug-in is read, so a card that was pulled out tells when it is to go on.
static int card_prepare(snd_pcm_ioplug_t *io) {
	(void)io;
	return pulled() ? -ENODEV : 0;
}

static int card_start(snd_pcm_ioplug_t *io) {
	card_t *card = io->private_data;
	struct itimerspec tick = { { 0, 5000000 }, { 0, 5000000 } };
	card->start = now();
	return timerfd_settime(io->poll_fd, 0, &tick, NULL);
}

static int card_stop(snd_pcm_ioplug_t *io) {
	struct itimerspec never = { { 0, 0 }, { 0, 0 } };
	return timerfd_settime(io->poll_fd, 0, &never, NULL);
}

static snd_pcm_sframes_t card_pointer(snd_pcm_ioplug_t *io) {
	card_t *card = io->private_data;
	if (pulled())
		return -EPIPE;
	if (sounds("hollow"))
		return io->hw_ptr % io->buffer_size;
	if (unplugged()) {
		card_stop(io); // or snd_pcm_wait would turn with every tick, and never time out
		return io->hw_ptr % io->buffer_size;
	}
	int64_t taken = (now() - card->start) * io->rate / 1000000000LL;
	if (taken - (int64_t)io->appl_ptr > (int64_t)io->buffer_size)
		return -EPIPE;
	return taken % io->buffer_size;
}

static snd_pcm_sframes_t card_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
				       snd_pcm_uframes_t offset, snd_pcm_uframes_t size) {
	card_t *card = io->private_data;
	int silent = sounds("silent"), loud = sounds("loud");
	while (is_there("TVSL_TEST_READ_HANGS"))
		usleep(10000);
	int64_t first = card->start / 1000000 * io->rate / 1000 + (int64_t)io->appl_ptr;
	if (sounds("busy") || (sounds("late") && now() - card->held > 2000000000LL)) {
		usleep(io->buffer_size * 1200000LL / io->rate);
		card->held = now();
	}
	for (snd_pcm_uframes_t i = 0; i < size; i++) {
		int64_t at = card->start + (int64_t)(io->appl_ptr + i) * 1000000000LL / io->rate;
		for (unsigned int c = 0; c < io->channels; c++) {
			char *to = (char *)areas[c].addr + (areas[c].first + areas[c].step * (offset + i)) / 8;
			float level = at / 1000000 % 250 < 2 ? 0.5f : 0.0f;
			if (card->scene)
				level = card->scene[(first + (int64_t)i) % card->length] / 32768.0f;
			level = c > 0 ? 0.0f : level;
			level = silent ? 0.0f : loud ? 1.0f : level;
			if (io->format == SND_PCM_FORMAT_S16_LE)
				*(int16_t *)to = (int16_t)(level * 32767);
			else if (io->format == SND_PCM_FORMAT_S32_LE)
				*(int32_t *)to = (int32_t)(level * 2147483520.0f);
			else
				*(float *)to = c == 0 ? level : NAN;
		}
	}
	return size;
}

static void count(const char *variable) {
	const char *name = getenv(variable);
	FILE *file = name ? fopen(name, "a") : NULL;
	if (file) {
		fputc('.', file);
		fclose(file);
	}
}

static int card_poll_revents(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int n, unsigned short *revents) {
	uint64_t ticks;
	if (sounds("hollow")) { // at once again and again, for the ticks are not taken
		count("TVSL_TEST_SAID");
		*revents = POLLIN;
		return 0;
	}
	snd_pcm_sframes_t ready = snd_pcm_avail_update(io->pcm);
	if (n > 0 && (fds[0].revents & POLLIN) && read(fds[0].fd, &ticks, sizeof ticks) < 0)
		ticks = 0;
	*revents = ready < 0 ? POLLERR : ready > 0 ? POLLIN : 0;
	return 0;
}

static int card_close(snd_pcm_ioplug_t *io) {
	card_t *card = io->private_data;
	close(io->poll_fd);
	if (card->scene)
		munmap((void *)card->scene, card->length * sizeof *card->scene);
	free(card);
	return 0;
}

// Takes the samples of a file; none if it holds none.
static void card_load(card_t *card, const char *file) {
	struct stat about;
	int scene = open(file, O_RDONLY | O_CLOEXEC);
	if (scene < 0)
		return;
	if (fstat(scene, &about) == 0 && about.st_size > 1) {
		card->length = about.st_size / (int64_t)sizeof *card->scene;
		void *samples = mmap(NULL, card->length * sizeof *card->scene, PROT_READ, MAP_PRIVATE, scene, 0);
		card->scene = samples == MAP_FAILED ? NULL : samples;
	}
	close(scene);
}

static const snd_pcm_ioplug_callback_t callbacks = {
	.start = card_start, .stop = card_stop, .pointer = card_pointer, .transfer = card_transfer,
	.prepare = card_prepare, .poll_revents = card_poll_revents, .close = card_close,
};

SND_PCM_PLUGIN_DEFINE_FUNC(tvsltest) {
	const unsigned int accesses[] = { SND_PCM_ACCESS_RW_INTERLEAVED, SND_PCM_ACCESS_MMAP_INTERLEAVED };
	const char *format = "S16_LE", *file = NULL;
	long rate = 16000, channels = 1;
	snd_config_iterator_t i, next;
	snd_config_for_each(i, next, conf) {
		snd_config_t *n = snd_config_iterator_entry(i);
		const char *id;
		if (snd_config_get_id(n, &id) < 0)
			continue;
		if (!strcmp(id, "format")) snd_config_get_string(n, &format);
		if (!strcmp(id, "rate")) snd_config_get_integer(n, &rate);
		if (!strcmp(id, "file")) snd_config_get_string(n, &file);
		if (!strcmp(id, "channels")) snd_config_get_integer(n, &channels);
	}
	while (is_there("TVSL_TEST_HANGS"))
		usleep(10000);
	if (unplugged())
		return -ENODEV;
	rate = rate_now(rate);
	card_t *card = calloc(1, sizeof *card);
	if (!card)
		return -ENOMEM;
	if (file)
		card_load(card, file);
	card->io.version = SND_PCM_IOPLUG_VERSION;
	card->io.name = "test card";
	card->io.callback = &callbacks;
	card->io.private_data = card;
	card->io.poll_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	card->io.poll_events = POLLIN;
	int error = snd_pcm_ioplug_create(&card->io, name, stream, mode);
	if (error < 0)
		return error;
	unsigned int formats[] = { snd_pcm_format_value(format) };
	snd_pcm_ioplug_set_param_list(&card->io, SND_PCM_IOPLUG_HW_ACCESS, 2, accesses);
	snd_pcm_ioplug_set_param_list(&card->io, SND_PCM_IOPLUG_HW_FORMAT, 1, formats);
	snd_pcm_ioplug_set_param_minmax(&card->io, SND_PCM_IOPLUG_HW_CHANNELS, channels, channels);
	snd_pcm_ioplug_set_param_minmax(&card->io, SND_PCM_IOPLUG_HW_RATE, rate, rate);
	snd_pcm_ioplug_set_param_minmax(&card->io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64, 1 << 16);
	snd_pcm_ioplug_set_param_minmax(&card->io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 256, 1 << 19);
	*pcmp = card->io.pcm;
	return 0;
}
SND_PCM_PLUGIN_SYMBOL(tvsltest);
