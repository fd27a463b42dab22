/**
 * Training shards: samples of one config as an .npz file, a zip of arrays that numpy opens as it is.
 *
 * | array | type, shape | holds |
 * | --- | --- | --- |
 * | boards | int8 (rows, cells) | the board after a placement: 0 empty, else the owning seat |
 * | seats | int8 (rows,) | who had placed |
 * | game_start | int32 (games + 1,) | rows of game g: game_start[g] up to game_start[g + 1] |
 * | results | float32 (games, players) | final standing per seat, -1 to 1 |
 * | config | bytes () | the game, such as square8_2p |
 *
 * The same samples give the same bytes (entries carry a fixed date), so a repeated export is recognised by its hash.
 */
import { unzipSync, zipSync } from 'fflate';
import { messageOf } from '../../errors.ts';
import { gameConfig, isGameConfig } from '../game/configs.ts';
import { decodeNpy, encodeNpy, shardInvalid, type NpyArray } from './npy.ts';
import { gamesOf, rowsOf, type Samples } from './samples.ts';

/** The oldest a zip can say. Local time, as zip dates are, so that it is the same everywhere. */
const ENTRY_DATE = '1980-01-01T00:00:00';

/** Boards compress tenfold already at the quickest level but one; higher ones spend seconds for a few per cent. */
const COMPRESSION = 2;

/** No entry of a shard may unpack to more: what a row cap of a million boards of the largest game takes. Bytes. */
const ENTRY_BYTES_MAX = 512 * 1024 * 1024;

export const encodeShard = (samples: Samples): Uint8Array => {
  const { config, boards, seats, gameStart, results } = samples;
  const name = Buffer.from(config.name, 'latin1');
  const arrays: Record<string, NpyArray> = {
    boards: { type: '|i1', shape: [rowsOf(samples), config.board.cells], data: boards },
    seats: { type: '|i1', shape: [rowsOf(samples)], data: seats },
    game_start: { type: '<i4', shape: [gamesOf(samples) + 1], data: gameStart },
    results: { type: '<f4', shape: [gamesOf(samples), config.players], data: results },
    config: { type: `|S${name.length}`, shape: [], data: name },
  };
  return zipSync(
    Object.fromEntries(Object.entries(arrays).map(([entry, array]) => [`${entry}.npy`, encodeNpy(array)])),
    { level: COMPRESSION, mtime: ENTRY_DATE },
  );
};

const entriesOf = (bytes: Uint8Array, name: string): Record<string, Uint8Array> => {
  try {
    return unzipSync(bytes, {
      filter: (entry) => {
        if (entry.originalSize > ENTRY_BYTES_MAX)
          throw new Error(`${entry.name} unpacks to ${entry.originalSize} bytes`);
        return true;
      },
    });
  } catch (thrown) {
    throw shardInvalid(name, `it is no .npz file that can be unpacked (${messageOf(thrown)})`);
  }
};

/** A plain loop: it looks at millions of cells. */
const between = (values: Int8Array, least: number, most: number): boolean => {
  for (let index = 0; index < values.length; index++) if (values[index]! < least || values[index]! > most) return false;
  return true;
};

/**
 * Reads a shard and checks that its arrays belong together, so that training can index them without looking.
 * @throws SHARD_INVALID
 */
export const decodeShard = (bytes: Uint8Array, name: string): Samples => {
  const entries = entriesOf(bytes, name);
  const read = <Data>(entry: string, type: string, kind: new (length: number) => Data): NpyArray & { data: Data } => {
    const found = entries[`${entry}.npy`];
    if (found === undefined) throw shardInvalid(name, `it has no array "${entry}"`);
    const array = decodeNpy(found, `${name} (${entry})`);
    if (!(array.data instanceof kind)) throw shardInvalid(name, `"${entry}" holds ${array.type}, not ${type}`);
    return array as NpyArray & { data: Data };
  };

  const configName = Buffer.from(read('config', '|S', Uint8Array).data).toString('latin1');
  if (!isGameConfig(configName)) throw shardInvalid(name, `it is of the unknown game "${configName}"`);
  const config = gameConfig(configName);
  const boards = read('boards', '|i1', Int8Array);
  const seats = read('seats', '|i1', Int8Array);
  const gameStart = read('game_start', '<i4', Int32Array);
  const results = read('results', '<f4', Float32Array);

  const rows = seats.data.length;
  const games = gameStart.data.length - 1;
  const fits = (array: NpyArray, ...shape: number[]): boolean => array.shape.join() === shape.join();
  if (
    !fits(seats, rows) ||
    !fits(boards, rows, config.board.cells) ||
    games < 0 ||
    !fits(results, games, config.players)
  )
    throw shardInvalid(name, `its arrays do not fit each other, or not ${configName}`);
  if (gameStart.data[0] !== 0 || gameStart.data[games] !== rows)
    throw shardInvalid(name, `its games cover rows ${gameStart.data[0]} to ${gameStart.data[games]} of ${rows}`);
  for (let game = 0; game < games; game++) {
    const length = gameStart.data[game + 1]! - gameStart.data[game]!;
    if (length < 0 || length > config.board.cells) throw shardInvalid(name, `game ${game} has ${length} rows`);
  }
  if (!between(seats.data, 1, config.players) || !between(boards.data, 0, config.players))
    throw shardInvalid(name, `it names seats that ${configName} does not have`);
  if (!results.data.every((result) => result >= -1 && result <= 1))
    throw shardInvalid(name, 'some results are not between -1 and 1');
  return { config, boards: boards.data, seats: seats.data, gameStart: gameStart.data, results: results.data };
};
