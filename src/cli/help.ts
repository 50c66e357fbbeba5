export const help = `Sorts pictures, or finds the best ones, by plain words.

  bun run classify PHOTOS… --categories cats.json [options]
  bun run classify --video clip.mp4 --categories cats.json [options]

PHOTOS are picture files and folders, which are looked through with all folders in them.
Categories are a JSON, CSV or text file, or words given one by one.

What is asked
  --categories FILE   {"categories":["a","b"]}, ["a","b"], or text with commas or lines
  --category WORDS    one more category; repeatable
  --template TEXT     a sentence around each category, e.g. "a photo of a {}"; repeatable,
                      several are averaged
  --threshold NUMBER  0 to 1: where the best score is less, there is no answer
  --top-k NUMBER      how many candidates --json lists (5)
  --best              the best photo for each category, instead of the category of each photo
  --video FILE        the best frame of a video for each category

What becomes of the answers
  (nothing)           lines: category, tab, file; "-" where the best score is too low
  --json              one JSON object a line, with the scores
  --csv               a table with a header
  --output FILE       into a file. Interrupted, or killed: the same command goes on where it
                      stopped, and skips what the file already has. FILE.question.json says what
                      was asked, and of which model; another question is refused. So is a
                      symbolic link, and a file that another run writes
  --copy-to DIR       copies each photo into DIR/category/; with --best the best ones; with
                      --video the best frames, as JPEG files
  --move-to DIR       moves each photo into DIR/category/
  --dry-run           only says where --copy-to or --move-to would put each file

Sorting never overwrites: where a name is taken, the file becomes "name (2).jpg". Broken photos,
and those below the threshold, stay where they are. Doing it again changes nothing. DIR may be a
symbolic link; the folder of a category in it may not. One run at a time sorts into DIR.

How it is done
  --server URL        asks a running service instead of loading the model here; a busy one, or one
                      that is starting, is waited for
  --quiet             says nothing but warnings and errors
  --help

The settings of the service count here, too: CLIP_MODEL, CLIP_CACHE, CLIP_PRECISION, THREADS,
MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_VIDEO_SECONDS, MAX_CATEGORIES, LOG_LEVEL. With --server,
API_KEY is sent along: as an option, everybody on the machine could read it.

Exit codes: 0 all is well; 1 some files cannot be used, each is named on standard error;
2 nothing can be done: wrong options or settings, no model, no server, a full disk;
130 interrupted.

Answers go to standard output, all else to standard error. Bun itself says there what it runs,
unless it is called as "bun run --silent classify". From other folders: bun PATH/src/cli/main.ts
`;
