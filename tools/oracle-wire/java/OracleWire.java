// Kafka's own message classes as the oracle of the wire. Three tasks over files of entries (name, version, bytes):
//   write SEED COUNT OUT   fills every message class in every version at random, COUNT times, and writes what it serializes to
//   blank OUT              the same with messages as their constructors make them: the defaults
//   recode IN OUT          reads each entry with Kafka's class and writes what that class serializes again; an entry that
//                          Kafka refuses has a negative length and the reason in place of the bytes
// Which fields a version has is taken from the class's own SCHEMAS. Run as a single-file program with Kafka's jars in the
// class path; the Rust side beside it starts it.

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.File;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarFile;
import java.util.zip.ZipEntry;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class OracleWire {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "write" -> write(Long.parseLong(args[1]), Integer.parseInt(args[2]), Path.of(args[3]));
            case "blank" -> blank(Path.of(args[1]));
            case "recode" -> recode(Path.of(args[1]), Path.of(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    // Every generated message class of the class path, by the name of its schema.
    private static Map<String, Class<?>> messages() throws Exception {
        Map<String, Class<?>> all = new TreeMap<>();
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (!new File(path).getName().startsWith("kafka")) {
                continue;
            }
            try (JarFile jar = new JarFile(path)) {
                for (ZipEntry entry : java.util.Collections.list(jar.entries())) {
                    String name = entry.getName();
                    // What the Streams library writes into its members' subscriptions is its own affair and passes through.
                    boolean streams = name.startsWith("org/apache/kafka/streams/");
                    boolean generated = !streams && (name.startsWith("org/apache/kafka/common/message/")
                        || name.startsWith("org/apache/kafka/common/metadata/") || name.contains("/generated/"));
                    if (!generated || !name.endsWith(".class") || name.contains("$")) {
                        continue;
                    }
                    Class<?> found = Class.forName(name.replace('/', '.').substring(0, name.length() - 6));
                    if (ApiMessage.class.isAssignableFrom(found) && !found.isInterface()) {
                        all.put(found.getSimpleName().replaceFirst("(Request|Response|Header)Data$", "$1"), found);
                    }
                }
            }
        }
        return all;
    }

    private static Message create(Class<?> type) throws Exception {
        return (Message) type.getDeclaredConstructor().newInstance();
    }

    private static void write(long seed, int count, Path out) throws Exception {
        Random random = new Random(seed);
        try (DataOutputStream stream = output(out)) {
            for (Map.Entry<String, Class<?>> entry : messages().entrySet()) {
                Message blank = create(entry.getValue());
                Schema[] schemas = (Schema[]) entry.getValue().getField("SCHEMAS").get(null);
                for (short version = blank.lowestSupportedVersion(); version <= blank.highestSupportedVersion(); version++) {
                    for (int at = 0; at < count; at++) {
                        Message message = create(entry.getValue());
                        fill(random, message, schemas[version]);
                        put(stream, entry.getKey(), version, serialize(message, version));
                    }
                }
            }
        }
    }

    private static void blank(Path out) throws Exception {
        try (DataOutputStream stream = output(out)) {
            for (Map.Entry<String, Class<?>> entry : messages().entrySet()) {
                Message blank = create(entry.getValue());
                for (short version = blank.lowestSupportedVersion(); version <= blank.highestSupportedVersion(); version++) {
                    try {
                        put(stream, entry.getKey(), version, serialize(blank, version));
                    } catch (RuntimeException refused) {
                        refuse(stream, entry.getKey(), version, refused);
                    }
                }
            }
        }
    }

    private static void recode(Path in, Path out) throws Exception {
        Map<String, Class<?>> messages = messages();
        try (DataInputStream input = new DataInputStream(new BufferedInputStream(Files.newInputStream(in)));
             DataOutputStream stream = output(out)) {
            while (true) {
                String name;
                try {
                    name = input.readUTF();
                } catch (EOFException end) {
                    return;
                }
                short version = input.readShort();
                byte[] bytes = new byte[input.readInt()];
                input.readFully(bytes);
                try {
                    Message message = create(messages.get(name));
                    ByteBuffer buffer = ByteBuffer.wrap(bytes);
                    message.read(new ByteBufferAccessor(buffer), version);
                    if (buffer.hasRemaining()) {
                        throw new IllegalStateException(buffer.remaining() + " bytes left over");
                    }
                    put(stream, name, version, serialize(message, version));
                } catch (Exception refused) {
                    refuse(stream, name, version, refused);
                }
            }
        }
    }

    private static DataOutputStream output(Path path) throws Exception {
        return new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(path)));
    }

    private static byte[] serialize(Message message, short version) {
        ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    private static void put(DataOutputStream stream, String name, short version, byte[] bytes) throws Exception {
        stream.writeUTF(name);
        stream.writeShort(version);
        stream.writeInt(bytes.length);
        stream.write(bytes);
    }

    private static void refuse(DataOutputStream stream, String name, short version, Exception why) throws Exception {
        stream.writeUTF(name);
        stream.writeShort(version);
        stream.writeInt(-1);
        stream.writeUTF(why.toString());
    }

    private static void fill(Random random, Message message, Schema schema) throws Exception {
        Map<String, Field> fields = new HashMap<>();
        for (Field field : message.getClass().getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers())) {
                field.setAccessible(true);
                fields.put(plain(field.getName()), field);
            }
        }
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                for (var known : tagged.fields().values()) {
                    if (random.nextInt(3) > 0) {
                        set(random, message, field(fields, known.name, message), known.type);
                    }
                }
                if (random.nextInt(4) == 0) {
                    for (int at = 0, count = 1 + random.nextInt(2); at < count; at++) {
                        message.unknownTaggedFields().add(new RawTaggedField(700 + at * 90_000, bytes(random)));
                    }
                }
            } else {
                set(random, message, field(fields, bound.def.name, message), bound.def.type);
            }
        }
    }

    private static Field field(Map<String, Field> fields, String name, Message message) {
        Field field = fields.get(plain(name));
        if (field == null) {
            throw new IllegalStateException("no field " + name + " in " + message.getClass());
        }
        return field;
    }

    private static String plain(String name) {
        return name.replace("_", "").toLowerCase(Locale.ROOT);
    }

    private static void set(Random random, Message message, Field field, Type type) throws Exception {
        if (type.isNullable() && random.nextInt(4) == 0) {
            field.set(message, null);
        } else if (type.isArray()) {
            field.set(message, array(random, field, type.arrayElementType().get()));
        } else {
            field.set(message, value(random, field.getType(), type));
        }
    }

    @SuppressWarnings("unchecked")
    private static Object array(Random random, Field field, Type elementType) throws Exception {
        Collection<Object> elements;
        Class<?> element;
        if (field.getType() == List.class) {
            elements = new ArrayList<>();
            element = (Class<?>) ((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0];
        } else {
            elements = (Collection<Object>) field.getType().getDeclaredConstructor().newInstance();
            element = (Class<?>) ((ParameterizedType) field.getType().getGenericSuperclass()).getActualTypeArguments()[0];
        }
        for (int at = 0, count = random.nextInt(4); at < count; at++) {
            elements.add(value(random, element, elementType));
        }
        return elements;
    }

    private static Object value(Random random, Class<?> wanted, Type type) throws Exception {
        if (Message.class.isAssignableFrom(wanted)) {
            Message message = create(wanted);
            fill(random, message, (Schema) type);
            return message;
        }
        long number = (random.nextBoolean() ? 1 : -1) * (random.nextLong() >>> random.nextInt(64));
        if (wanted == boolean.class) {
            return random.nextBoolean();
        } else if (wanted == byte.class || wanted == Byte.class) {
            return (byte) number;
        } else if (wanted == short.class || wanted == Short.class) {
            return (short) number;
        } else if (wanted == int.class || wanted == Integer.class) {
            return type == Type.UINT16 ? (int) (number & 0xffff) : (int) number;
        } else if (wanted == long.class || wanted == Long.class) {
            return type == Type.UNSIGNED_INT32 ? number & 0xffffffffL : number;
        } else if (wanted == double.class || wanted == Double.class) {
            return random.nextDouble() * 1000 - 500;
        } else if (wanted == Uuid.class) {
            return new Uuid(random.nextLong(), random.nextLong());
        } else if (wanted == String.class) {
            return text(random);
        } else if (wanted == byte[].class) {
            return bytes(random);
        } else if (wanted == ByteBuffer.class) {
            return ByteBuffer.wrap(bytes(random));
        } else if (wanted == BaseRecords.class) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(random)));
        }
        throw new IllegalStateException("no random value for " + wanted);
    }

    private static int length(Random random) {
        return switch (random.nextInt(16)) {
            case 0 -> 0;
            case 1 -> random.nextInt(400);
            default -> random.nextInt(12);
        };
    }

    private static byte[] bytes(Random random) {
        byte[] bytes = new byte[random.nextInt(32) == 0 ? 3000 : length(random)];
        random.nextBytes(bytes);
        return bytes;
    }

    private static String text(Random random) {
        StringBuilder text = new StringBuilder();
        for (int at = 0, length = length(random); at < length; at++) {
            text.append(switch (random.nextInt(8)) {
                case 0 -> "é";
                case 1 -> "水";
                case 2 -> "🦀";
                default -> String.valueOf((char) ('a' + random.nextInt(26)));
            });
        }
        return text.toString();
    }
}
