import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.net.Socket;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.requests.RequestUtils;

/** One connection on which requests of any key and version are sent as they are, without a client's own ideas about them. */
final class Wire implements AutoCloseable {
    private final Socket socket;
    private final DataInputStream in;
    private final DataOutputStream out;
    private int correlation;

    Wire(Case c) throws Exception {
        socket = new Socket("127.0.0.1", c.port);
        socket.setSoTimeout(15_000);
        in = new DataInputStream(socket.getInputStream());
        out = new DataOutputStream(socket.getOutputStream());
    }

    void send(ApiKeys key, short version, ApiMessage request) throws Exception {
        var header = new RequestHeaderData().setRequestApiKey(key.id).setRequestApiVersion(version)
            .setCorrelationId(++correlation).setClientId("wire");
        ByteBuffer body = RequestUtils.serialize(header, key.requestHeaderVersion(version), request, version);
        out.writeInt(body.remaining());
        out.write(body.array(), body.arrayOffset() + body.position(), body.remaining());
        out.flush();
    }

    ApiMessage receive(ApiKeys key, short version) throws Exception {
        byte[] frame = frame();
        ByteBuffer buffer = ByteBuffer.wrap(frame);
        int answered = buffer.getInt();
        if (answered != correlation) {
            throw new IllegalStateException("answer " + answered + " to request " + correlation);
        }
        if (key.responseHeaderVersion(version) > 0 && buffer.get() != 0) {
            throw new IllegalStateException("tagged fields in a response header");
        }
        ApiMessage response = ApiMessageType.fromApiKey(key.id).newResponse();
        response.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes after the response");
        }
        return response;
    }

    ApiMessage call(ApiKeys key, int version, ApiMessage request) throws Exception {
        send(key, (short) version, request);
        return receive(key, (short) version);
    }

    byte[] frame() throws Exception {
        byte[] frame = new byte[in.readInt()];
        in.readFully(frame);
        return frame;
    }

    void raw(byte[] bytes) throws Exception {
        out.write(bytes);
        out.flush();
    }

    /** What a server does with bytes that are no request: `closed`, or the size of what it answers. */
    String afterwards() throws Exception {
        try {
            return "answered " + frame().length + " bytes";
        } catch (EOFException | java.net.SocketException closed) {
            return "closed";
        }
    }

    @Override
    public void close() throws Exception {
        socket.close();
    }
}
